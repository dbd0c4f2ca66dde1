"""What a running gateway consists of, for the handlers that need it."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from msgspec import Struct

from bobbin_gateway.abilities import Abilities
from bobbin_gateway.auth import Authenticator, HttpRequest
from bobbin_gateway.files.attachments import Attachments
from bobbin_gateway.files.sweeping import Sweeper
from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store
from bobbin_gateway.turns.beginning import Beginnings
from bobbin_gateway.turns.engine import TurnEngine


class Gateway(Struct, frozen=True, kw_only=True):
    """Opened by `app.create_app` when the process starts, and closed with it."""

    settings: Settings
    store: Store
    abilities: Abilities
    engine: TurnEngine
    beginnings: Beginnings
    attachments: Attachments
    sweeper: Sweeper
    authenticator: Authenticator
    listening: asyncio.Task[None]
    """Done when connections are made as they should be (`bobbin_gateway.listening`)."""

    @property
    def status(self) -> str:
        """`READY` if turns can begin here, else why they cannot."""
        if self.engine.draining:
            return "stopping"
        if not self.listening.done():
            return "starting"
        return READY if self.engine.lease.is_held else "the store is not ready"


READY: Final = "ready"


def gateway_of(request: HttpRequest) -> Gateway:
    """The gateway that serves this request."""
    return cast("Gateway", request.app.state["gateway"])
