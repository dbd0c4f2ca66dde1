"""What every test may use, whatever its level."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT.parent / "shared" / "recordings"

# A busy machine may stop in the middle of any example, for longer than any example may take.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def missing(what: str) -> NoReturn:
    """Skip for want of something outside the project; where nothing may be missing (CI), fail."""
    if os.environ.get("BOBBIN_REQUIRE_ALL"):
        pytest.fail(f"{what}, and BOBBIN_REQUIRE_ALL is set")
    pytest.skip(what)


def require_or_skip(*, there: bool, what: str) -> None:
    """Go on only if it is there."""
    if not there:
        missing(what)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded provider streams."""
    require_or_skip(there=RECORDINGS.is_dir(), what="no recorded streams at ../shared/recordings")
    return RECORDINGS


SLOWEST_FIRST = (
    "tests/integration/gateway/test_outage.py",  # four minutes
    "tests/integration/gateway/test_takeover.py",  # more than one, as those that follow
    "tests/integration/gateway/test_drain.py",
    "tests/integration/proxies/test_restarts.py",
    "tests/integration/gateway/test_joins.py",
    "tests/integration/gateway/test_disconnect.py",
    "tests/integration/gateway/test_double_texting.py",
    "tests/integration/gateway/test_feeds.py",
    "tests/integration/gateway/",
    "tests/integration/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what waits for processes begin first: where files run side by side, the fast ones fill the gaps."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    places = (place for place, start in enumerate(SLOWEST_FIRST) if item.nodeid.startswith(start))
    return next(places, len(SLOWEST_FIRST))
