"""The HTTP API: one module per noun, and what all of them share in `exchange`."""
