"""`python -m tests.bench [--quick] [--json FILE] [--only PART ...]`."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
import structlog
import uvloop
from msgspec import Struct

from tests.bench import report
from tests.bench.figures import Figures
from tests.bench.latency import measure_latency
from tests.bench.memory import measure_memory
from tests.bench.pages import measure_pages
from tests.bench.servers import Servers, Target, started_servers
from tests.bench.survival import measure_journal, measure_leftovers, measure_resume
from tests.bench.turns import (
    LOADS,
    measure_burst_deltas,
    measure_long_threads,
    measure_single_deltas,
    measure_turns,
    open_threads,
    warm_up,
)

SECTIONS = ("memory", "turns", "latency", "survival", "pages")


class Plan(Struct, frozen=True):
    """How much is measured."""

    rounds: int
    starts: int
    """How often the servers are started anew for CPU: how a process happens to lie in memory makes a few
    percent of it."""
    turns: int
    """Whole turns of each kind, per server and round."""
    burst_scale: int
    window_s: float
    """Length of a look at single deltas."""
    long_threads: int
    latency_turns: int
    """At each load, at least."""
    streams: tuple[int, ...]
    """Numbers of open streams at which memory is read."""
    rows: tuple[int, int]
    """A short list and a long one."""
    pages: int
    resumes: int
    """Times that a reader comes back, per round."""
    journalled: tuple[int, int]
    """Few turns and many that run at once."""
    ended: tuple[int, int]
    """Few turns and many, one after another."""


FULL = Plan(
    rounds=5,
    starts=3,
    turns=80,
    burst_scale=2,
    window_s=1.0,
    long_threads=24,
    latency_turns=15,
    streams=(500, 1000),
    rows=(1_000, 1_000_000),
    pages=300,
    resumes=10,
    journalled=(10, 500),
    ended=(1_000, 10_000),
)
QUICK = Plan(
    rounds=1,
    starts=1,
    turns=80,
    burst_scale=2,
    window_s=1.0,
    long_threads=12,
    latency_turns=15,
    streams=(250,),
    rows=(1_000, 100_000),
    pages=100,
    resumes=10,
    journalled=(10, 200),
    ended=(500, 1_500),
)


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    sections: set[str] = set(arguments.only or SECTIONS)
    begun = time.monotonic()
    figures = uvloop.run(measure(plan, sections))
    minutes = (time.monotonic() - begun) / 60
    rounds = (
        f"medians of {plan.rounds} rounds (CPU of turns: of {plan.starts} starts with {plan.rounds} each)"
    )
    _print(f"{_machine()}; {rounds}; {minutes:.1f} minutes\n")
    _print(report.comparison(figures, plan.streams) + "\n")
    if "pages" in sections:
        _print(report.pages(figures, plan.rows))
    if "survival" in sections:
        _print("\n" + report.survival(figures, plan.journalled, plan.ended))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures.dump(), indent=1))


async def measure(plan: Plan, sections: set[str]) -> Figures:
    """All figures."""
    figures = Figures()
    if "memory" in sections:
        async with started_servers() as servers:  # fresh ones: a heap that has been large hides its growth
            for target in servers.targets:
                _say(f"memory: {target.name}")
                await warm_up(target, 48)
                await measure_memory(target, figures, plan.streams)
    if "turns" in sections:
        for number in range(plan.starts):
            async with started_servers() as servers:
                await warm_up_all(servers)
                await measure_cpu(servers, figures, plan, f"start {number + 1}")
    if sections - {"memory", "turns"}:
        async with started_servers() as servers:
            await warm_up_all(servers)
            await measure_warm(servers, figures, plan, sections)
    return figures


async def warm_up_all(servers: Servers) -> None:
    """Have everything in place before anything is measured."""
    for target in servers.targets:
        _say(f"warming up: {target.name}")
        await warm_up(target, 160)


async def measure_warm(servers: Servers, figures: Figures, plan: Plan, sections: set[str]) -> None:
    """The rest; the long lists last, since filling them makes work for later."""
    if "latency" in sections:
        for number in range(plan.rounds):
            _say(f"time to first delta, round {number + 1}")
            await measure_latency(servers, figures, plan.latency_turns)
    if "survival" in sections:
        await measure_survival(servers, figures, plan)
    if "pages" in sections:
        _say("pages")
        await measure_pages(servers, figures, plan.rows, plan.pages)


async def measure_survival(servers: Servers, figures: Figures, plan: Plan) -> None:
    """Coming back, the journal, what turns leave behind."""
    for number in range(plan.rounds):
        _say(f"coming back, round {number + 1}")
        await measure_resume(servers, figures, plan.resumes)
    for turns in plan.journalled:
        _say(f"journal of {turns} turns")
        await measure_journal(servers, figures, turns)
    _say("what turns leave behind")
    await measure_leftovers(servers, figures, plan.ended)


async def measure_cpu(servers: Servers, figures: Figures, plan: Plan, start: str) -> None:
    """CPU of turns and deltas, server by server at each measurement: what slows the machine, slows all."""
    threads = {
        target.name: await open_threads(target, plan.long_threads)
        for target in (servers.reference, servers.ours)
    }
    measurements: list[Callable[[Target], Awaitable[None]]] = [
        *(partial(measure_turns, figures=figures, load=load, turns=plan.turns) for load in LOADS),
        partial(measure_long_threads, figures=figures, threads=threads),
        partial(measure_burst_deltas, figures=figures, scale=plan.burst_scale),
        partial(measure_single_deltas, figures=figures, window_s=plan.window_s),
    ]
    for number in range(plan.rounds):
        _say(f"turns and deltas, {start}, round {number + 1}")
        for measurement in measurements:
            for target in _rotated(servers.targets, number):
                await measurement(target)


def _rotated(targets: list[Target], by: int) -> list[Target]:
    by %= len(targets)
    return targets[by:] + targets[:by]


def _machine() -> str:
    return f"Python {platform.python_version()}, {platform.machine()}, {psutil.cpu_count()} cores"


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def _print(what: str) -> None:
    sys.stdout.write(f"{what}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="one round, fewer rows and streams")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values of all rounds")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="measure only this")
    return parser.parse_args()


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that the servers are stopped


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    main()
