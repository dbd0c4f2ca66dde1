"""Time that a server adds to the first delta of an answer."""

from __future__ import annotations

from statistics import median, quantiles

from tests.bench.client import closed_loop, connections
from tests.bench.figures import Figures
from tests.bench.servers import Servers

FIRST_S = 0.05
SCRIPT = f"deltas=20&first_ms={FIRST_S * 1000:g}&delay_ms=5"
DURATION_S = 0.15
LOADS = (1, 10, 50)


async def measure_latency(servers: Servers, figures: Figures, turns: int) -> None:
    """At each load (clients, each with one turn after another): median and 95th percentile.

    What the same client sees of the model itself at the same load is taken off; of the ceiling, which has no
    model, the wait that the script asks for.
    """
    for load in LOADS:
        own = median(await _first_deltas(servers, "model", load, turns))
        for name, without in (("reference", own), ("ours", own), ("ceiling", FIRST_S)):
            seconds = await _first_deltas(servers, name, load, turns)
            figures.add(name, f"first delta at {load}/median", median(seconds) - without)
            figures.add(name, f"first delta at {load}/p95", quantiles(seconds, n=20)[-1] - without)


async def _first_deltas(servers: Servers, name: str, load: int, turns: int) -> list[float]:
    if name == "model":
        port, request = servers.model.port, servers.ask_model(SCRIPT)
    else:
        target = next(target for target in servers.targets if target.name == name)
        port, request = target.port, target.create(SCRIPT)
    async with connections(port, load) as clients:
        count = max(turns, load * 4)
        answers = await closed_loop(clients, count, lambda _: request, ramp_s=DURATION_S if load > 1 else 0)
        return [answer.first_delta_s for answer in answers]
