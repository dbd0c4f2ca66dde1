"""Images once per run, and the logs of all containers where a test fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.containers.bobbin import Bobbin, Workshop, running_bobbin, workshop
from tests.containers.composed import Composed
from tests.containers.engine import Images, build_images, require_engine
from tests.containers.machine import remove_leftovers


@pytest.fixture(scope="session")
def images() -> Images:
    """Our images, built from what is in the folder."""
    require_engine()
    remove_leftovers()
    return build_images()


@pytest.fixture(scope="module")
def make(images: Images) -> Iterator[Workshop]:
    """Makes containers on a network of this module."""
    with workshop(images) as one:
        yield one


@pytest.fixture(scope="module")
def bobbin(images: Images) -> Iterator[Bobbin]:
    """All of it, for the tests of one module; each leaves it at work."""
    with running_bobbin(images) as one:
        yield one


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the containers of a failed test wrote last."""
    report = yield
    if report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Bobbin | Workshop | Composed):
                report.sections += [(f"log of {name}", _end_of(log)) for name, log in value.logs().items()]
    return report


def _end_of(log: str) -> str:
    return "\n".join(log.splitlines()[-150:])
