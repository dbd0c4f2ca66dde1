"""Many users at one address, while something happens to what is behind it."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import msgspec

from tests.chaos.audit import Audit, Findings
from tests.chaos.users import Habits, Said, User, open_gateways
from tests.client import Client, Event, answers_of, deltas_of, errors_of, kinds_of, message
from tests.proxies import answers_cut
from tests.stack import JWT_SECRET

HABITS = Habits(turns=2, leaves=0.1, stops=0, words=(40, 80), delay_ms=(80, 160))
"""Answers of eight seconds, now and then a connection that is lost by itself."""

SETTLE_S = 60.0

_FAILED = re.compile(r"gateway \d+: |: [45]\d\d")
"""In what a client noted."""


class Crowd:
    """Users of both kinds: with clients that come back to an answer, and with such that cannot."""

    def __init__(self, url: str, users: int, plain: int, habits: Habits) -> None:
        self.tally: Counter[str] = Counter()
        self._url = url
        self._gateways = open_gateways([url])
        self._over = False
        seed = random.randrange(10**6)
        self.users = [
            User(seed * 1000 + number, self._gateways, habits, random.Random(f"{seed}/{number}"), self.tally)
            for number in range(users)
        ]
        self._plain = plain
        self._seed = seed
        self.plain_problems: list[str] = []
        self.silence = 0.0
        """How long a client of the other kind waited for the next event, at most, s."""

    @property
    def said(self) -> list[Said]:
        return [said for user in self.users for said in user.said]

    @property
    def running(self) -> int:
        """How many resumable answers are being read right now."""
        return sum(
            bool(user.said) and bool(user.said[-1].events) and not user.said[-1].done for user in self.users
        )

    async def until_running(self, count: int) -> int:
        """Wait until so many answers are being read."""
        async with asyncio.timeout(SETTLE_S):
            while self.running < count:  # noqa: ASYNC110 (the users move on)
                await asyncio.sleep(0.05)
        return self.running

    def failures(self, proxy_log: str) -> list[str]:
        """What went wrong with requests, as far as clients can see: nothing may, when nothing is killed.

        But for what Caddy does by itself (`answers_cut`). Who resumes does not notice.
        """
        good = {"requests", "resumes", "events", "connections left", "stops", "plain answers"}
        counts = [f"{what}: {count}" for what, count in self.tally.items() if what not in good]
        stories = [f"{said.key}: {said.history}" for said in self.said if _FAILED.search(str(said.history))]
        return [
            *counts,
            *stories[: 20 if counts else 0],
            *self.plain_problems[answers_cut(proxy_log) :],
        ]

    def enough(self) -> bool:
        return self._over

    def finish(self) -> None:
        """Nobody begins another message."""
        self._over = True

    async def live(self) -> None:
        """Talk until it is enough, and wait for all answers."""
        async with asyncio.TaskGroup() as tasks:
            for user in self.users:
                tasks.create_task(user.live(self.enough))
            for number in range(self._plain):
                tasks.create_task(self._live_plain(number))

    async def _live_plain(self, number: int) -> None:
        """As an unmodified client: no key, no resuming, and nothing is sent a second time."""
        async with httpx.AsyncClient(base_url=self._url, timeout=30) as http:
            client = Client(http, bearer(f"plain-{self._seed}-{number}"))
            count = 0
            while not self._over or count == 0:
                text = f"{number}/{count}: " + "words and words and " * 12
                count += 1
                model = f"script:{urlencode({'text': text, 'size': 5, 'delay_ms': 100})}"
                events: list[Event] = []
                heard = time.monotonic()
                try:
                    async with client.stream("threads.create", input=message("Tell me", model=model)) as new:
                        async for event in new:
                            events.append(event)
                            self.silence = max(self.silence, time.monotonic() - heard)
                            heard = time.monotonic()
                except (httpx.HTTPError, AssertionError) as error:
                    self.plain_problems.append(f"{time.strftime('%H:%M:%S')} {text[:6]}: {error!r}")
                    continue
                if errors_of(events) or answers_of(events) != [text]:
                    told = (
                        f"{time.strftime('%H:%M:%S')} {text[:6]}: {deltas_of(events)!r}, {kinds_of(events)}"
                    )
                    self.plain_problems.append(f"{told}, {errors_of(events)}")
                self.tally["plain answers"] += 1


def bearer(owner: str) -> dict[str, str]:
    """The headers of a user."""
    claims = {"sub": owner, "exp": int(time.time()) + 7200}
    return {"authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"}


@asynccontextmanager
async def crowd(url: str, users: int, *, plain: int = 0, habits: Habits = HABITS) -> AsyncIterator[Crowd]:
    """A crowd that talks within the block; all its answers are there at its end."""
    people = Crowd(url, users, plain, habits)
    life = asyncio.create_task(people.live())
    try:
        yield people
        people.finish()
        async with asyncio.timeout(SETTLE_S):
            await life
    finally:
        life.cancel()
        await asyncio.wait([life])
        for http in people._gateways:
            await http.aclose()


def compare(people: Crowd, turns: list[Any], items: list[Any], owner: str | None = None) -> Findings:
    """What the crowd saw beside what is stored; `owner`, if they all were one."""
    everything = people.said
    if owner is not None:
        everything = [msgspec.structs.replace(said, owner=owner) for said in everything]
    keys = {said.key for said in everything}
    own = [turn for turn in turns if turn["idempotency_key"] in keys]
    findings = Audit(own, items).compare(everything)
    findings.problems += [problem for user in people.users for problem in user.problems]
    findings.problems += [f"{said.key}: never answered" for said in everything if not said.done]
    return findings
