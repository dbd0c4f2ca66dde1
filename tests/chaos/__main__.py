"""`python -m tests.chaos`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from tests.chaos.run import BrokenPromise, Plan, run
from tests.chaos.users import Habits


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Kill processes while users talk."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--every", type=float, default=4.0, metavar="S", help="between two kills, on average")
    parser.add_argument(
        "--leaves", type=int, default=0, metavar="N", help="connections lost by clients, at least"
    )
    parser.add_argument(
        "--freezes",
        type=float,
        default=0.2,
        metavar="P",
        help="how often, per kill, another one stands still",
    )
    parser.add_argument("--background", action="store_true", help="answers go on at the provider")
    given = parser.parse_args()
    plan = Plan(
        seed=given.seed,
        users=given.users,
        kills=given.kills,
        every_s=given.every,
        freezes=given.freezes,
        leaves=given.leaves,
        habits=Habits(leaves=0.9, stops=0) if given.leaves else Habits(),
        gateway_settings={"BACKGROUND": "1"} if given.background else {},
    )
    try:
        asyncio.run(run(plan))
    except BrokenPromise as broken:
        sys.stdout.write(f"{broken}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
