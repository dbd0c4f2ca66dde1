"""Integration tests share one Bobbin of real processes."""

from tests.stack import client, stack

__all__ = ["client", "stack"]
