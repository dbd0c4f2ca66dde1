"""What was measured: values by server and name, one for each round."""

from __future__ import annotations

from collections import defaultdict
from statistics import median


class Figures:
    """Collects values; the median of the rounds is what counts, for the machine is noisy."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, server: str, name: str, value: float) -> None:
        self._values[server][name].append(value)

    def add_parts(self, server: str, name: str, parts: dict[str, float]) -> None:
        """Values by part, and their sum as `total`."""
        for part, value in {**parts, "total": sum(parts.values())}.items():
            self.add(server, f"{name}/{part}", value)

    def get(self, server: str, name: str) -> float | None:
        values = self._values[server].get(name)
        return median(values) if values else None

    def dump(self) -> dict[str, dict[str, list[float]]]:
        """All values of all rounds."""
        return {server: dict(values) for server, values in self._values.items()}
