"""What a model cites, as annotations of its text.

Providers write citations in many ways, and some of them wrongly: what makes no sense is left out, never an
error. Only web addresses are taken for links, since a model may write anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from bobbin_protocol.items import Annotation
from bobbin_protocol.sources import FileSource, URLSource

_MAX_DESCRIPTION = 300
"""Characters of what a page says, as shown beside its title."""


def annotation_of(citation: object) -> Annotation | None:
    """A citation of the Responses dialect, at the place that the reference gives it.

    That is in ``ResponseStreamConverter``. None: it is of a kind that has no source to show.
    """
    fields = fields_of(citation)
    match fields.get("type"):
        case "url_citation":
            source = url_source(fields.get("url"), fields.get("title"))
            index = fields.get("end_index")
        case "file_citation":
            source, index = file_source(fields.get("filename")), fields.get("index")
        case "container_file_citation":
            source, index = file_source(fields.get("filename")), fields.get("end_index")
        case _:
            return None
    if source is None:
        return None
    return Annotation(source=source, index=index if isinstance(index, int) else None)


def chat_annotation_of(citation: object) -> Annotation | None:
    """An annotation of the Chat dialect.

    One that covers nothing has no place in the text: such come from searches before the first word
    (OpenRouter).
    """
    fields = fields_of(citation)
    nested = fields.get("url_citation")
    annotation = annotation_of({**fields, **fields_of(nested)})
    if annotation is not None and not annotation.index:
        annotation.index = None
    return annotation


def search_results(results: object, urls: object) -> Iterator[Annotation]:
    """Annotations for the results of a search that came with the answer (Perplexity, xAI).

    Args:
        results: Objects with url, title, date and snippet.
        urls: Plain addresses, for providers that give no more.
    """
    for result in map(fields_of, items_of(results) or items_of(urls)):
        source = url_source(result.get("url"), result.get("title"))
        if source is not None:
            source.timestamp = text_of(result.get("date")) or None
            source.description = text_of(result.get("snippet"))[:_MAX_DESCRIPTION] or None
            yield Annotation(source=source)


def url_source(url: object, title: object = None) -> URLSource | None:
    """A page of the web; without a title it goes by its host. None if that is no address of one."""
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return URLSource(url=url, title=text_of(title) or host or url)


def file_source(filename: object) -> FileSource | None:
    name = text_of(filename)
    return FileSource(filename=name, title=name) if name else None


def text_of(value: object) -> str:
    """The value if it is text, else the empty one."""
    return value if isinstance(value, str) else ""


def items_of(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def fields_of(value: object) -> Mapping[str, Any]:
    """The value if it is an object; a text stands for an address."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    return {"url": value} if isinstance(value, str) else {}
