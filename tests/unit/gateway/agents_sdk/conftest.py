"""The model server that runs of the SDK are tried against."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from agents import RunConfig

from tests.model import ModelServer, model_server
from tests.sdk import models_at

__all__ = ["model_server"]


@pytest.fixture
async def config(model_server: ModelServer, recordings: object) -> AsyncIterator[RunConfig]:
    """A run config whose models are those of the model server."""
    async with models_at(model_server.base_url) as config:
        yield config
