"""The figures as Markdown tables, with the targets beside them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from tests.bench import latency
from tests.bench.figures import Figures
from tests.bench.turns import FULL_SPEED, ONE_BY_ONE, PACED

US, MS, S, KIB, PER_S = (1e6, "µs"), (1e3, "ms"), (1.0, "s"), (1 / 1024, "KiB"), (1.0, "/s")
MIB = (1 / 1024**2, "MiB")
Unit = tuple[float, str]

PARTS = ("gateway", "store", "postgres")


class Row(Struct):
    """A figure of each server; `at_most` is what ours may be, as a part of the reference's."""

    label: str
    name: str
    unit: Unit
    at_most: float | None = None
    """None: there is no target."""


def turn_rows(label: str, name: str, at_most: float | None) -> Iterator[Row]:
    """A whole turn, then its parts."""
    yield Row(f"CPU, {label}", f"{name}/total", MS, at_most)
    for part in PARTS:
        yield Row(f"... {part}", f"{name}/{part}", MS)


def rows(streams: tuple[int, ...]) -> Iterator[Row]:
    """All that is compared.

    A delta that comes alone has no target: most of what it costs is waking up, reading and writing, which the
    system takes from a server that does nothing else, too (the ceiling's column).
    """
    yield Row("gateway CPU per delta, in bursts, turns of 1000", "burst delta of 1000/gateway", US, 0.1)
    yield Row("gateway CPU per delta, in bursts, turns of 200", "burst delta of 200/gateway", US, 0.1)
    yield Row("gateway CPU per delta, each alone, 64 streams", "single delta/gateway", US)
    yield from turn_rows("20-delta turn, one at a time", ONE_BY_ONE.name, 0.25)
    yield from turn_rows("20-delta turn, 16 at a time", FULL_SPEED.name, 0.25)
    yield from turn_rows("20-delta turn, a delta each 5 ms, 16 at a time", PACED.name, 0.25)
    yield from turn_rows("20-delta turn, tenth message of its thread", "tenth message", 0.25)
    yield Row("turns per second, 16 clients", "turns/s", PER_S)
    yield Row("events per second, 16 clients", "events/s", PER_S)
    for load in latency.LOADS:
        for which in ("median", "p95"):
            yield Row(
                f"added time to first delta, {load} at a time, {which}",
                f"first delta at {load}/{which}",
                MS,
                1,
            )
    for count in streams:
        yield Row(f"memory per open stream, of {count}", f"open stream of {count}/total", KIB, 0.5)
        yield Row("... gateway", f"open stream of {count}/gateway", KIB)
        yield Row("... store", f"open stream of {count}/store", KIB)


def comparison(figures: Figures, streams: tuple[int, ...]) -> str:
    """The three servers side by side."""
    lines = [
        "| | reference | ours | ceiling | ours / reference | target | ours / ceiling |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows(streams):
        reference, ours, ceiling = (figures.get(who, row.name) for who in ("reference", "ours", "ceiling"))
        if ours is None:
            continue
        cells = [
            f"{row.label}, {row.unit[1]}",
            *(_amount(value, row.unit) for value in (reference, ours, ceiling)),
            _ratio(ours, reference),
            _verdict(ours, reference, row.at_most),
            _ratio(ours, ceiling),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pages(figures: Figures, lengths: tuple[int, int]) -> str:
    """Pages of a short and a long list side by side."""
    short, long = lengths
    lines = [
        f"| a page of 20 | of {short:,} | of {long:,} | long / short | target |",
        "|---|---:|---:|---:|---|",
    ]
    for kind in ("threads", "items"):
        for page in ("first", "middle"):
            for what, unit, at_most in (
                ("time", MS, 2.0),
                ("cpu/total", MS, 2.0),
                ("cpu/postgres", MS, None),
            ):
                name = f"{kind}.list, {page} page, of {{}}/{what}"
                few, many = (figures.get("ours", name.format(count)) for count in lengths)
                if few is None or many is None:
                    continue
                label = {
                    "time": "time",
                    "cpu/total": "CPU of store and PostgreSQL",
                    "cpu/postgres": "... PostgreSQL",
                }
                cells = [
                    f"{kind}.list, {page} page: {label[what]}, {unit[1]}",
                    _amount(few, unit),
                    _amount(many, unit),
                    _ratio(many, few),
                    _verdict(many, few, at_most),
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def survival(figures: Figures, journalled: tuple[int, int], ended: tuple[int, int]) -> str:
    """Coming back beside a fresh request; the journal of few and of many turns; memory before and after."""
    lines = ["| time to the first event, ms | | / a fresh request |", "|---|---:|---:|"]
    fresh = figures.get("ours", "first event, fresh")
    for name in ("fresh", "same gateway", "another gateway"):
        value = figures.get("ours", f"first event, {name}")
        label = "a fresh request" if name == "fresh" else f"coming back on {'the ' * (name[0] == 's')}{name}"
        lines.append(f"| {label} | {_amount(value, MS)} | {_ratio(value or 0, fresh)} |")
    few, many = journalled
    lines += ["", f"| while turns run | {few} | {many} | {many} / {few} |", "|---|---:|---:|---:|"]
    for label, name, unit in (
        ("calls to the store per second", "calls", PER_S),
        ("chunks in them per second", "chunks", PER_S),
        ("CPU of PostgreSQL per second, ms", "cpu/postgres", MS),
        ("CPU of the store per second, ms", "cpu/store", MS),
        ("CPU of the gateway per second, ms", "cpu/gateway", MS),
    ):
        small, large = (figures.get("ours", f"journal of {turns}/{name}") for turns in journalled)
        cells = [label, _amount(small, unit), _amount(large, unit), _ratio(large or 0, small)]
        lines.append("| " + " | ".join(cells) + " |")
    before, after = (figures.get("ours", f"gateway after {turns} turns") for turns in ended)
    lines += [
        "",
        f"Memory of the gateway after {ended[0]:,} turns: {_amount(before, MIB)} MiB;",
        f"after {ended[1]:,}: {_amount(after, MIB)} MiB.",
    ]
    return "\n".join(lines)


def _amount(value: float | None, unit: Unit) -> str:
    if value is None:
        return ""
    scaled = value * unit[0]
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:,.{digits}f}"


def _ratio(value: float, base: float | None) -> str:
    if base is None or base <= 0:
        return ""
    return f"{value / base:.2f}" if value < 10 * base else f"{value / base:.0f}"


def _verdict(value: float, base: float | None, at_most: float | None) -> str:
    if at_most is None or base is None:
        return ""
    return f"{'met' if value <= at_most * base else '**MISSED**'} (at most {at_most:g})"
