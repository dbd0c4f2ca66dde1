"""Images as they take shape."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.openai_agent.images import Images, image_url
from bobbin_protocol.events import ThreadItemUpdatedEvent
from bobbin_protocol.items import GeneratedImageItem
from bobbin_protocol.updates import GeneratedImageUpdated
from tests.unit.gateway.openai_agent.samples import Heard, turn

PNG = "iVBORw0KGgoAAAA"


@pytest.mark.parametrize(
    ("image", "output_format", "url"),
    [
        (PNG, None, f"data:image/png;base64,{PNG}"),
        (PNG, "webp", f"data:image/png;base64,{PNG}"),
        ("/9j/4AAQ", None, "data:image/jpeg;base64,/9j/4AAQ"),
        ("UklGRuIW", "png", "data:image/webp;base64,UklGRuIW"),
        ("R0lGODdh", None, "data:image/gif;base64,R0lGODdh"),
        ("AAAA", "webp", "data:image/webp;base64,AAAA"),
        ("AAAA", "html", "data:image/png;base64,AAAA"),
        ("AAAA", ["webp"], "data:image/png;base64,AAAA"),
        ("https://example.org/a.png", None, "https://example.org/a.png"),
        (f"data:image/png;base64,{PNG}", None, f"data:image/png;base64,{PNG}"),
        ("data:image/svg+xml;base64,AAAA", None, None),
        ("data:text/html;base64,AAAA", None, None),
        ("javascript:alert(1)", None, None),
        ("", "png", None),
        (None, "png", None),
        (7, "png", None),
    ],
)
def test_an_image_is_an_address_of_its_real_type(image: Any, output_format: Any, url: str | None) -> None:
    assert image_url(image, output_format) == url


def test_an_image_is_shown_as_it_takes_shape() -> None:
    images, heard = Images(turn()), Heard()
    images.partial_images = 2
    heard.events += images.begin(4)
    assert images.begin(4) == []
    assert not images.any
    for number in range(3):
        heard.events += images.show(4, f"https://a.example/{number}", number)
    heard.events += images.end(4, "https://a.example/final")
    assert heard.kinds == [
        "thread.item.added",
        "generated_image.updated",
        "generated_image.updated",
        "generated_image.updated",
        "thread.item.done",
    ]
    progress = [
        event.update.progress
        for event in heard.events
        if isinstance(event, ThreadItemUpdatedEvent) and isinstance(event.update, GeneratedImageUpdated)
    ]
    assert progress == [0, 0.5, 1]
    [item] = heard.items
    assert isinstance(item, GeneratedImageItem)
    assert item.image is not None
    assert item.image.url == "https://a.example/final"
    assert images.any


def test_several_images_are_kept_apart() -> None:
    images, heard = Images(turn()), Heard()
    heard.events += images.begin(0) + images.begin(1)
    heard.events += images.end(1, "https://a.example/1") + images.end(0, "https://a.example/0")
    heard.events += images.add("https://a.example/2")
    urls = [item.image.url for item in heard.items if isinstance(item, GeneratedImageItem) and item.image]
    assert urls == ["https://a.example/0", "https://a.example/1", "https://a.example/2"]


def test_an_image_that_comes_to_nothing_is_taken_away_and_an_unfinished_one_is_kept() -> None:
    images, heard = Images(turn()), Heard()
    heard.events += images.begin(0) + images.begin(1) + images.show(1, "https://a.example/1", 0)
    heard.events += images.end_all()
    [item] = heard.items
    assert isinstance(item, GeneratedImageItem)
    assert item.image is not None
    assert item.image.url == "https://a.example/1"
    assert images.end(0, None) == []


def test_an_image_goes_on_elsewhere() -> None:
    images, heard = Images(turn()), Heard()
    heard.events += images.begin(0) + images.show(0, "https://a.example/1", 0)
    moved = Images(turn())
    moved.restore(images.state(), heard.items)
    assert moved.end_all() == images.end_all()
    with pytest.raises(LookupError):
        moved.restore([(0, "msg_unknown")], heard.items)
