"""Tools: what a model may do, where they come from, and how their calls run."""
