"""Integration tests share one Bobbin of real processes."""

from tests.cluster import cluster
from tests.stack import client, stack

__all__ = ["client", "cluster", "stack"]
