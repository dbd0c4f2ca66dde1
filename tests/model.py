"""The model server as tests use it: a real process on a free port, shared by a whole run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import RECORDINGS
from tests.processes import Service, free_port, running


class ModelServer:
    """Where it listens, and what it was asked."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.url = service.url
        self.base_url = f"{service.url}/v1"
        """What `OPENAI_BASE_URL` is to be."""

    def received(self, contains: str = "") -> list[dict[str, Any]]:
        """The requests whose body holds this text, oldest first, each with `path`, `body` and `outcome`."""
        answer = httpx.get(f"{self.url}/requests", params={"contains": contains})
        return answer.raise_for_status().json()["requests"]


def model_service() -> Service:
    """The model server, with the recordings if they are there, and keeping the requests it gets."""
    port = free_port()
    recordings = ["--recordings", str(RECORDINGS)] if RECORDINGS.is_dir() else []
    arguments = ["--port", str(port), "--record-requests", *recordings]
    return Service("bobbin_gateway.demo_model", port, *arguments, ready="/v1/models")


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """A running model server; behaviour is chosen by the request's model, so all tests share it."""
    with running(model_service()) as service:
        yield ModelServer(service)
