"""What an agent can do beside answering: the one place where its optional methods are looked up."""

from __future__ import annotations

from msgspec import Struct

from bobbin_gateway.agent import (
    ActingAgent,
    Agent,
    ContinuingAgent,
    FeedbackAgent,
    SyncActingAgent,
    TitlingAgent,
    TranscribingAgent,
)


class Abilities(Struct, frozen=True, kw_only=True):
    """An agent, once for each thing that it can do; None for what it cannot."""

    agent: Agent
    continuing: ContinuingAgent | None = None
    acting: ActingAgent | None = None
    sync_acting: SyncActingAgent | None = None
    feedback: FeedbackAgent | None = None
    transcribing: TranscribingAgent | None = None
    titling: TitlingAgent | None = None


def abilities_of(agent: Agent) -> Abilities:
    """What the agent has methods for."""
    return Abilities(
        agent=agent,
        continuing=agent if isinstance(agent, ContinuingAgent) else None,
        acting=agent if isinstance(agent, ActingAgent) else None,
        sync_acting=agent if isinstance(agent, SyncActingAgent) else None,
        feedback=agent if isinstance(agent, FeedbackAgent) else None,
        transcribing=agent if isinstance(agent, TranscribingAgent) else None,
        titling=agent if isinstance(agent, TitlingAgent) else None,
    )
