"""Turns: begun and finished in one transaction each, and what is known of them."""
