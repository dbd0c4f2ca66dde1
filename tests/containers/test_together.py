"""All of Bobbin in containers, from outside: conversations, a roll-out, and violent ends of each part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from tests.chaos.audit import ITEMS, TURNS, Findings
from tests.client import Client, answers_of, deltas_of, message, text_of, thread_id_of
from tests.cluster import Reading, begin, resume
from tests.containers.bobbin import Bobbin
from tests.containers.crowd import Crowd, bearer, compare, crowd
from tests.containers.machine import Machine

pytestmark = pytest.mark.timeout(180)


async def audited(bobbin: Bobbin, people: Crowd) -> Findings:
    """What is wrong with what is stored."""
    connection = await asyncpg.connect(bobbin.dsn)
    try:
        async with asyncio.timeout(20):
            while await connection.fetchval(_RUNNING):  # noqa: ASYNC110 (gateways end them)
                await asyncio.sleep(0.1)
        return compare(people, await connection.fetch(TURNS), await connection.fetch(ITEMS))
    finally:
        await connection.close()


_RUNNING = "SELECT count(*) FROM bobbin.turns WHERE ended_at IS NULL"


async def test_a_conversation(bobbin: Bobbin) -> None:
    """The second message goes to the other gateway, and both know what was said."""
    urls = [gateway.url for gateway in bobbin.gateways]
    async with httpx.AsyncClient(base_url=urls[0]) as one, httpx.AsyncClient(base_url=urls[1]) as other:
        here, there = (Client(http, bearer("talks")) for http in (one, other))
        first = await here.create("Hello", model="script:text=Good+day&size=2")
        assert answers_of(first) == [deltas_of(first)] == ["Good day"]
        second = await there.say(thread_id_of(first), "Again", model="demo")
        assert "one earlier message" in answers_of(second)[0]
        items = (await here.call("items.list", thread_id=thread_id_of(first), order="asc"))["data"]
        assert [text_of(item) for item in items] == ["Hello", "Good day", "Again", *answers_of(second)]
        assert (await Client(one, bearer("someone else")).call("threads.list"))["data"] == []


async def test_an_answer_goes_on_at_the_other_gateway(bobbin: Bobbin) -> None:
    body = {
        "type": "threads.create",
        "params": {"input": message("Go on", model="script:deltas=60&delay_ms=30")},
    }
    reading = Reading()
    urls = [gateway.url for gateway in bobbin.gateways]
    async with httpx.AsyncClient(base_url=urls[0], headers=bearer("moves")) as one:
        assert not await begin(one, body, reading, events=12)
    async with httpx.AsyncClient(base_url=urls[1], headers=bearer("moves")) as other:
        assert await resume(other, reading)
    reading.check()
    assert answers_of(reading.events) == [deltas_of(reading.events)]
    assert len(deltas_of(reading.events)) == 240


async def test_rolling_out_under_load_is_noticed_by_nobody(bobbin: Bobbin) -> None:
    """Every store and gateway is replaced while 50 answers are read, and new ones begin."""
    least = 10**9
    async with crowd(bobbin.proxy.url, users=75, plain=6) as people:
        for store in bobbin.stores:
            least = min(least, await people.until_running(50))
            await asyncio.to_thread(store.replace_after_the_new_one)
        for gateway in bobbin.gateways:
            least = min(least, await people.until_running(50))
            await asyncio.to_thread(gateway.replace)
            await asyncio.to_thread(gateway.await_healthy)
        await people.until_running(50)
    findings = await audited(bobbin, people)
    print(f"rolled with {least} answers running: {dict(people.tally)}, {dict(findings.states)}")
    assert findings.problems == []
    assert people.failures(bobbin.proxy.logs()) == []
    assert "canceling statement" not in bobbin.postgres.logs()
    assert set(findings.states) == {"completed"}
    assert findings.counts["answers as read"] == len(people.said)


def kill_and_start(machine: Machine) -> None:
    """Kill -9, and start it again as a restart policy does."""
    machine.kill()
    machine.start_again()


def stop_and_start(machine: Machine) -> None:
    """An orderly restart."""
    machine.stop()
    machine.start_again()


@pytest.mark.parametrize(
    ("name", "violence"),
    [
        ("gateway-1", kill_and_start),
        ("store-1", kill_and_start),
        ("postgres", kill_and_start),
        ("postgres", stop_and_start),
    ],
    ids=["gateway killed", "store killed", "database killed", "database restarted"],
)
async def test_what_was_said_survives(bobbin: Bobbin, name: str, violence: Callable[[Machine], None]) -> None:
    """Every acknowledged message is there, every turn has ended, deltas add up to what is stored."""
    victim = next(machine for machine in bobbin.machines if machine.name == name)
    async with crowd(bobbin.proxy.url, users=16) as people:
        running = await people.until_running(14)
        await asyncio.to_thread(violence, victim)
        await asyncio.to_thread(bobbin.await_all)
    findings = await audited(bobbin, people)
    print(f"{name}, {running} answers running: {dict(people.tally)}, {dict(findings.states)}")
    assert findings.problems == []
    assert findings.counts["messages acknowledged"] == len(people.said)
    assert name == "gateway-1" or set(findings.states) == {"completed"}, findings.states
