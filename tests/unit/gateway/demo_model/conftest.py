"""These tests talk to one real model server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.model import ModelServer, model_server

__all__ = ["model_server"]


@pytest.fixture(scope="session")
async def openai(model_server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    """The real client, pointed at the model server; without retries of its own."""
    async with AsyncOpenAI(base_url=model_server.base_url, api_key="sk-test", max_retries=0) as client:
        yield client
