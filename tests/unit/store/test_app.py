"""The application as a whole: health and its own description."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.store.conftest import Store


async def test_health_needs_no_token(store: Store) -> None:
    for path in ["/health/live", "/health/ready"]:
        assert (await store.http.get(path)).status_code == 200


FOR_EVERY_OWNER = ("/v1/gateways", "/v1/watch", "/v1/blobs")


@pytest.fixture
async def schema(store: Store) -> dict[str, Any]:
    response = await store.http.get("/schema/openapi.json")
    assert response.status_code == 200
    return response.json()


async def test_the_api_describes_every_route_with_its_bodies_and_its_owner(schema: dict[str, Any]) -> None:
    routes = {
        (method.upper(), path)
        for path, operations in schema["paths"].items()
        for method in operations
        if path.startswith("/v1")
    }
    assert routes == {
        ("GET", "/v1/threads"),
        ("POST", "/v1/threads"),
        ("GET", "/v1/threads/{thread_id}"),
        ("PATCH", "/v1/threads/{thread_id}"),
        ("DELETE", "/v1/threads/{thread_id}"),
        ("GET", "/v1/threads/{thread_id}/items"),
        ("POST", "/v1/threads/{thread_id}/items"),
        ("DELETE", "/v1/threads/{thread_id}/items"),
        ("GET", "/v1/threads/{thread_id}/items/{item_id}"),
        ("PUT", "/v1/threads/{thread_id}/items/{item_id}"),
        ("DELETE", "/v1/threads/{thread_id}/items/{item_id}"),
        ("GET", "/v1/threads/{thread_id}/feedback"),
        ("POST", "/v1/threads/{thread_id}/feedback"),
        ("POST", "/v1/turns"),
        ("GET", "/v1/turns/{turn_id}"),
        ("GET", "/v1/turns/{turn_id}/items"),
        ("POST", "/v1/turns/{turn_id}/items"),
        ("POST", "/v1/turns/{turn_id}/finish"),
        ("POST", "/v1/turns/{turn_id}/cancel"),
        ("POST", "/v1/turns/{turn_id}/desert"),
        ("POST", "/v1/turns/{turn_id}/join"),
        ("POST", "/v1/attachments"),
        ("GET", "/v1/attachments/{attachment_id}"),
        ("PUT", "/v1/attachments/{attachment_id}"),
        ("DELETE", "/v1/attachments/{attachment_id}"),
        ("POST", "/v1/attachments/{attachment_id}/complete"),
        ("POST", "/v1/blobs/sweep"),
        ("PUT", "/v1/gateways/{gateway_id}"),
        ("POST", "/v1/gateways/{gateway_id}/claims"),
        ("POST", "/v1/gateways/{gateway_id}/journal"),
        ("POST", "/v1/watch"),
        ("GET", "/v1/owner/export"),
        ("DELETE", "/v1/owner"),
    }
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1") and not path.startswith(FOR_EVERY_OWNER):
                names = {parameter["name"]: parameter for parameter in operation["parameters"]}
                assert names["Bobbin-Owner"]["required"] is True
    begin = schema["paths"]["/v1/turns"]["post"]
    assert begin["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("BeginTurn")
    answers = begin["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"]
    assert [re.split("[/_]", answer["$ref"])[-1] for answer in answers] == ["TurnBegun", "TurnJoined"]
    assert schema["components"]["securitySchemes"]["service_token"]["scheme"] == "bearer"
