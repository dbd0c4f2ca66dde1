"""How a gateway stands, looked at once a second for the metrics."""

from __future__ import annotations

from bobbin_gateway import metrics
from bobbin_gateway.gateway import READY, Gateway
from bobbin_gateway.turns.measures import count_events


def sample(gateway: Gateway) -> None:
    """Write it down."""
    engine = gateway.engine
    turns = engine.turns.all()
    for running in turns:
        count_events(running)
    metrics.TURNS_RUNNING.set(len(turns))
    metrics.READERS.set(sum(running.readers for running in turns) + engine.watcher.reader_count)
    metrics.FEEDS.set(engine.watcher.feed_count)
    metrics.JOURNAL_LAG.set(engine.journal.lag_s)
    metrics.JOURNAL_BUFFER.set(engine.journal.unsafe)
    metrics.JOURNAL_BUFFER_LIMIT.set(gateway.settings.journal_buffer_bytes)
    metrics.DRAINING.set(engine.draining)
    metrics.READY.set(gateway.status == READY)
