"""One run: users talk, processes die, and afterwards everything must be as the users saw it."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncpg
from msgspec import Struct, field

from tests.chaos.audit import Audit, Findings
from tests.chaos.machines import LEASE_S, Machines, running_machines
from tests.chaos.users import Habits, Said, User, open_gateways

_MOST_TOLD = 5
"""Problems that are described in full."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is to happen."""

    seed: int
    users: int = 50
    kills: int = 0
    every_s: float = 4.0
    """Between two kills, on average."""
    freezes: float = 0.0
    """How often, per kill, a process stands still for longer than its lease lasts."""
    leaves: int = 0
    """Connections that clients are to lose by themselves, at least."""
    habits: Habits = field(default_factory=Habits)
    settle_s: float = 120.0
    """Within which, after the last kill, every user must have every answer."""
    gateway_settings: dict[str, str] = field(default_factory=dict)


class BrokenPromise(AssertionError):
    """Something was lost, doubled, or never ended."""


async def run(plan: Plan, say: Callable[[str], object] = print) -> Findings:
    """Let it happen, and look at what is left.

    Raises:
        BrokenPromise: With all that is needed to understand it.
    """
    say(f"chaos: seed {plan.seed}, {plan.users} users, {plan.kills} kills, {plan.leaves} lost connections")
    dice = random.Random(plan.seed)
    tally: Counter[str] = Counter()
    async with running_machines(dice, **plan.gateway_settings) as machines:
        began = time.monotonic()
        gateways = open_gateways([service.url for service in machines.gateways])
        users = [
            User(number, gateways, plan.habits, random.Random(f"{plan.seed}/{number}"), tally)
            for number in range(plan.users)
        ]
        try:
            await _live(plan, machines, users, tally, dice, say)
        finally:
            for gateway in gateways:
                await gateway.aclose()
        findings = await _audit(plan, machines, users)
    say(_report(plan, machines, findings, tally, time.monotonic() - began))
    findings.counts.update(tally, kills=sum(machines.kills.values()))
    return findings


async def _live(
    plan: Plan,
    machines: Machines,
    users: list[User],
    tally: Counter[str],
    dice: random.Random,
    say: Callable[[str], object],
) -> None:
    over = False

    def enough() -> bool:
        return over and tally["connections left"] >= plan.leaves

    lives = asyncio.gather(*(user.live(enough) for user in users))
    for number in range(1, plan.kills + 1):
        await asyncio.wait([lives], timeout=plan.every_s * dice.uniform(0.5, 1.5))
        if lives.done():
            break
        killed = await machines.kill_one()
        say(f"  kill {number}: {killed}")
        if dice.random() < plan.freezes:
            say(f"  frozen: {await machines.freeze_one(LEASE_S)}")
    over = True
    if not lives.done():
        await asyncio.wait([lives], timeout=plan.settle_s)
    lives.cancel()
    try:
        await lives
    except asyncio.CancelledError:
        say("  not all users got all their answers")
    await machines.all_up()


async def _audit(plan: Plan, machines: Machines, users: list[User]) -> Findings:
    connection = await asyncpg.connect(machines.database.dsn)
    try:
        await _at_rest(connection)
        everything = [said for user in users for said in user.said]
        audit = await Audit.of(connection)
        findings = audit.compare(everything)
        if not plan.kills and findings.states["interrupted"]:
            findings.problems.append("turns were interrupted, though nothing was killed")
        findings.problems += [problem for user in users for problem in user.problems]
        findings.problems += [
            f"{said.key} ({said.turn_id}): never answered" for said in everything if not said.done
        ]
        if findings.problems:
            concerned = [said for said in everything if any(said.key in text for text in findings.problems)]
            stories = [await audit.describe(said, connection) for said in concerned[:_MOST_TOLD]]
            raise BrokenPromise(_indictment(machines, findings.problems, concerned[:_MOST_TOLD], stories))
        return findings
    finally:
        await connection.close()


async def _at_rest(connection: asyncpg.Connection) -> None:
    """Wait until no turn runs any more; one that nobody reads may take as long as a lease."""
    deadline = time.monotonic() + _REST_S
    while time.monotonic() < deadline and await connection.fetchval(_RUNNING):  # noqa: ASYNC110 (others end them)
        await asyncio.sleep(0.2)


_RUNNING = "SELECT count(*) FROM bobbin.turns WHERE ended_at IS NULL"
_REST_S = 20.0


def _indictment(machines: Machines, problems: list[str], concerned: list[Said], stories: list[str]) -> str:
    """What went wrong, the stories of some messages, and what the processes have to say about them."""
    folder = Path(tempfile.mkdtemp(prefix="bobbin-chaos-"))
    about: list[str] = []
    for name, log in machines.logs().items():
        (folder / f"{name.replace(' ', '-')}.log").write_text(log)
        lines = log.splitlines()
        for said in concerned:
            about += [f"{name}: {line[:500]}" for line in lines if said.turn_id and said.turn_id in line]
        about += [f"{name}: {line[:500]}" for line in lines[-10:]]
    summary = [f"{len(problems)} problems", *problems[:50]]
    return "\n".join([*summary, "", *stories, "", *about, "", f"all logs: {folder}"])


def _report(plan: Plan, machines: Machines, findings: Findings, tally: Counter[str], took_s: float) -> str:
    logs = "\n".join(machines.logs().values())
    seen = {
        "turns taken over": logs.count('"turn taken over"'),
        "leases lost": logs.count('"lease lost: '),
        "unexpected errors logged": logs.count("Traceback"),
    }
    return "\n".join(
        [
            f"chaos: seed {plan.seed}, {took_s:.0f} s",
            f"  kills: {sum(machines.kills.values())} ({_counts(machines.kills)}), frozen {machines.freezes}",
            f"  turns: {sum(findings.states.values())} ({_counts(findings.states)})",
            f"  {_counts(findings.counts)}",
            f"  {_counts(tally)}",
            f"  {_counts(seen)}",
        ]
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
