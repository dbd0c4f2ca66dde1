"""The turns that this process runs."""

from __future__ import annotations

from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.running import RunningTurn


class RunningTurns:
    """Found by id, and by thread: at most one turn runs in a thread."""

    def __init__(self) -> None:
        self._by_id: dict[str, RunningTurn] = {}
        self._by_thread: dict[tuple[str, str], RunningTurn] = {}

    def add(self, running: RunningTurn) -> None:
        """From now on the turn can be found."""
        self._by_id[running.turn_id] = running
        if not running.stopped.done():  # one that is only brought to its end may have been superseded
            self._by_thread[_thread(running)] = running

    def remove(self, running: RunningTurn) -> None:
        """From now on it cannot."""
        if self._by_id.get(running.turn_id) is running:
            del self._by_id[running.turn_id]
        if self._by_thread.get(_thread(running)) is running:
            del self._by_thread[_thread(running)]

    def all(self) -> list[RunningTurn]:
        """The turns as they are at this moment."""
        return list(self._by_id.values())

    def runs(self, turn_id: str) -> bool:
        """Whether there is such a turn, whoever's it is."""
        return turn_id in self._by_id

    def get(self, owner_id: str, turn_id: str) -> RunningTurn | None:
        """The owner's turn with this id."""
        running = self._by_id.get(turn_id)
        return running if running is not None and running.turn.owner_id == owner_id else None

    def in_thread(self, owner_id: str, thread_id: str) -> RunningTurn | None:
        """The turn that runs in the thread."""
        return self._by_thread.get((owner_id, thread_id))

    def stop(self, turn_ids: list[str], reason: Outcome) -> None:
        """End these turns early."""
        for turn_id in turn_ids:
            if running := self._by_id.get(turn_id):
                running.stop(reason)

    def lose(self, turn_id: str) -> None:
        """Let go of a turn that is another gateway's."""
        if running := self._by_id.get(turn_id):
            running.lose()


def _thread(running: RunningTurn) -> tuple[str, str]:
    return running.turn.owner_id, running.turn.thread.id
