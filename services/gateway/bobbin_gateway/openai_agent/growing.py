"""Steps whose text grows token by token: the model's thoughts, and code that it writes.

A step can only be shown as a whole. So it is shown anew when it has grown by an eighth, and at its end: all
its events together are no longer than about ten times its text, however many pieces that came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from bobbin_gateway.steps import Steps
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.tasks import Task

_SHARE = 8


class GrowingText(Struct, frozen=True, array_like=True):
    """What the steps themselves do not say of a text."""

    key: str
    tail: str
    """What was heard and is not shown yet."""
    told: int
    """Characters shown in a workflow that is closed by now."""


class GrowingSteps:
    """Steps of one kind in the open workflow.

    Args:
        steps: Where they are shown.
        task_of: A step with this text.
        text_of: The text of such a step.
        begin: Opens a workflow of another kind than steps have otherwise, if none is open.
    """

    __slots__ = ("_begin", "_steps", "_task_of", "_text_of", "_texts")

    def __init__(
        self,
        steps: Steps,
        task_of: Callable[[str], Task],
        text_of: Callable[[Task], str],
        begin: Callable[[], list[ThreadStreamEvent]] = list,
    ) -> None:
        self._steps = steps
        self._begin = begin
        self._task_of = task_of
        self._text_of = text_of
        self._texts: dict[str, _Text] = {}

    def restore(self, state: Iterable[GrowingText]) -> None:
        """Go on where `state` was taken; the steps are restored already."""
        for text in state:
            task = self._steps.task(text.key)
            self._texts[text.key] = _Text("" if task is None else self._text_of(task), text.tail, text.told)

    def state(self) -> list[GrowingText]:
        """What `restore` needs beside the steps."""
        return [GrowingText(key, text.tail, text.told) for key, text in self._texts.items()]

    def add(self, key: str, piece: str) -> list[ThreadStreamEvent]:
        """Add to a text, which begins with its first piece."""
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _Text()
        text.tail += piece
        return self._show(key, text) if len(text.tail) * _SHARE >= len(text.shown) else []

    def settle(self, key: str, whole: str) -> list[ThreadStreamEvent]:
        """Show all of a text that the provider states as a whole; what was heard of it is not taken back."""
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _Text()
        text.tail += text.rest(whole)
        return self._show(key, text)

    def text(self, key: str) -> str:
        """What the open workflow shows of a text."""
        text = self._texts.get(key)
        return text.shown if text else ""

    def show_all(self) -> list[ThreadStreamEvent]:
        """Show what was heard."""
        return [event for key, text in self._texts.items() for event in self._show(key, text)]

    def move_on(self) -> None:
        """The workflow has been closed: what comes yet will stand in another."""
        for text in self._texts.values():
            text.told += len(text.shown)
            text.shown = ""

    def forget(self, prefix: str = "") -> None:
        """Nothing comes any more of the texts whose keys begin like this."""
        self._texts = {key: text for key, text in self._texts.items() if not key.startswith(prefix)}

    def _show(self, key: str, text: _Text) -> list[ThreadStreamEvent]:
        if not text.tail:
            return []
        text.shown += text.tail
        text.tail = ""
        return self._begin() + self._steps.put(key, self._task_of(text.shown))


class _Text:
    __slots__ = ("shown", "tail", "told")

    def __init__(self, shown: str = "", tail: str = "", told: int = 0) -> None:
        self.shown = shown
        self.tail = tail
        self.told = told

    def rest(self, whole: str) -> str:
        heard = self.shown + self.tail
        # What an earlier workflow shows is not kept, so it can't be compared.
        if not self.told and not whole.startswith(heard):
            return ""
        return whole[self.told + len(heard) :]
