"""The model server that the built-in agent is tried against."""

from __future__ import annotations

from tests.model import model_server

__all__ = ["model_server"]
