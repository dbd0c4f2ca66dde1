"""What is scraped, asked and told about metrics: by services, Prometheus, dashboard, alerts and docs."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT

MONITORING = ROOT / "deploy" / "monitoring"
NAME = re.compile(r"\bbobbin_(?:gateway|store)_[a-z_]+")


class Scrape(Struct):
    """The samples of one scrape."""

    values: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def names(self) -> set[str]:
        """Of all samples."""
        return {name for name, _ in self.values}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (own, at), value in self.values.items() if own == name and wanted <= set(at))

    def labels(self, label: str) -> set[str]:
        """All values of a label."""
        return {value for _, at in self.values for name, value in at if name == label}


def scrape(port: int) -> Scrape:
    """Ask a service as Prometheus does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
    return Scrape(
        {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }
    )


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Each query of the dashboard, with the title of its panel."""
    dashboard = json.loads((MONITORING / "grafana/dashboards/bobbin.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def names_in(path: Path) -> set[str]:
    """All metrics that a file names."""
    return set(NAME.findall(path.read_text()))
