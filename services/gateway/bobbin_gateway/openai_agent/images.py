"""Images that a model makes: shown as they take shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import GeneratedImage, GeneratedImageItem, ThreadItem
from bobbin_protocol.updates import GeneratedImageUpdated


class Images:
    """The images in the making, by where the provider has them.

    Attributes:
        any: Whether any picture was shown in this turn.
        partial_images: How many states of an image come before its final one; 0: unknown.
    """

    __slots__ = ("_open", "_turn", "any", "partial_images")

    def __init__(self, turn: Turn) -> None:
        self.any = False
        self.partial_images = 0
        self._turn = turn
        self._open: dict[int, GeneratedImageItem] = {}

    def restore(self, state: Sequence[tuple[int, str]], items: Iterable[ThreadItem]) -> None:
        """Go on with the images that were open when `state` was taken.

        Raises:
            LookupError: They are not among the items.
        """
        found = {item.id: item for item in items if isinstance(item, GeneratedImageItem)}
        self._open = {output_index: found[item_id] for output_index, item_id in state}

    def state(self) -> list[tuple[int, str]]:
        """Of each open image where the provider has it, and the id of its item."""
        return [(output_index, item.id) for output_index, item in self._open.items()]

    def begin(self, output_index: int) -> list[ThreadStreamEvent]:
        """Show that an image is being made."""
        if output_index in self._open:
            return []
        item = self._open[output_index] = GeneratedImageItem(
            id=self._turn.new_id("message"), thread_id=self._turn.thread.id, created_at=datetime.now(UTC)
        )
        return [ThreadItemAddedEvent(item=item)]

    def is_open(self, output_index: int) -> bool:
        """Whether the image is being made."""
        return output_index in self._open

    def show(self, output_index: int, url: str, number: int) -> list[ThreadStreamEvent]:
        """Show how an image that has begun looks by now, in one of its states, counted from 0.

        The progress is counted as in the reference
        (``ResponseStreamConverter.partial_image_index_to_progress``).
        """
        item = self._put(output_index, url)
        progress = min(1.0, max(0, number) / self.partial_images) if self.partial_images > 0 else 0.0
        update = GeneratedImageUpdated(image=GeneratedImage(id=item.id, url=url), progress=progress)
        return [ThreadItemUpdatedEvent(item_id=item.id, update=update)]

    def end(self, output_index: int, url: str | None) -> list[ThreadStreamEvent]:
        """Give an image in its final form.

        Without a url it stays as it was last, or is taken away if it never was anything.
        """
        if url is not None and output_index in self._open:
            self._put(output_index, url)
        item = self._open.pop(output_index, None)
        if item is None:
            return []
        return [ThreadItemDoneEvent(item=item) if item.image else ThreadItemRemovedEvent(item_id=item.id)]

    def add(self, url: str) -> list[ThreadStreamEvent]:
        """Give an image that comes whole."""
        output_index = min(self._open, default=0) - 1
        added = self.begin(output_index)
        return added + self.end(output_index, url)

    def end_all(self) -> list[ThreadStreamEvent]:
        """The provider says nothing more of any."""
        return [event for output_index in list(self._open) for event in self.end(output_index, None)]

    def _put(self, output_index: int, url: str) -> GeneratedImageItem:
        self.any = True
        item = self._open[output_index]
        item = self._open[output_index] = replace(item, image=GeneratedImage(id=item.id, url=url))
        return item


def image_url(image: object, output_format: object = None) -> str | None:
    """The address of an image as providers give it: an address already, or base64. None: it is neither.

    What base64 holds shows in its first bytes; where they tell nothing, `output_format` is believed.
    """
    if not isinstance(image, str) or not image:
        return None
    if _ADDRESS.match(image):
        return image
    if ":" in image[:32]:
        return None
    known = next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), None)
    named = output_format if isinstance(output_format, str) and output_format in _FORMATS else "png"
    return f"data:image/{known or named};base64,{image}"


_ADDRESS = re.compile(r"https?://|data:image/(?:png|jpeg|webp|gif);base64,", re.IGNORECASE)
"""Of pictures only: an SVG may hold scripts."""
_MAGIC = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "UklGR": "webp", "R0lGOD": "gif"}
"""First characters of files in base64."""
_FORMATS = frozenset({"png", "jpeg", "webp", "gif"})
