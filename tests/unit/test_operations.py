"""docs/operations.md tells the truth: its metrics are the metrics."""

from __future__ import annotations

import os
import re

import pytest
from prometheus_client import REGISTRY

import bobbin_gateway.metrics  # noqa: F401 (both define what is listed)
import bobbin_store.metrics  # noqa: F401 (both define what is listed)
from tests.conftest import ROOT

GUIDE = ROOT / "docs" / "operations.md"


def metrics_table(service: str) -> str:
    """All metrics of a service, as Prometheus has them."""
    rows = sorted(
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {family.documentation.removesuffix('.')} |"
        for family in REGISTRY.collect()
        if family.name.startswith(f"bobbin_{service}_")
    )
    return "\n".join(["| metric | type | what it tells |", "|---|---|---|", *rows])


@pytest.mark.parametrize("service", ["gateway", "store"])
def test_every_metric_is_in_the_guide(service: str) -> None:
    """``UPDATE_README=1 make test T=tests/unit/test_operations.py`` writes the tables anew."""
    place = re.compile(rf"(?<=<!-- metrics: {service} -->\n)(.*?)(?=<!-- /metrics -->)", re.DOTALL)
    table = f"{metrics_table(service)}\n"
    if os.environ.get("UPDATE_README"):
        GUIDE.write_text(place.sub(lambda _: table, GUIDE.read_text(), count=1))
    written = place.search(GUIDE.read_text())
    assert written is not None
    assert written[1] == table


def test_there_are_metrics() -> None:
    assert len(metrics_table("gateway").splitlines()) > 20
    assert len(metrics_table("store").splitlines()) > 10
