"""Tools that the provider itself runs, as steps (platform.openai.com/docs/guides/tools).

A step is made from the item that the provider tells of, which is an object of any shape: what makes no sense
is left out, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from bobbin_gateway.markdown import fenced, unfenced
from bobbin_gateway.openai_agent.citations import fields_of, file_source, items_of, text_of, url_source
from bobbin_gateway.openai_agent.images import image_url
from bobbin_protocol.sources import FileSource, URLSource
from bobbin_protocol.tasks import CustomTask, FileTask, SearchTask, Task
from bobbin_protocol.wire import encode_json

_MAX_TEXT = 2000
"""Characters of what a tool was given or gave back, as shown."""
_MAX_NAME = 100
"""Characters of a name or a query in a title."""
_MAX_SOURCES = 100

Item: TypeAlias = Mapping[str, Any]
_Status: TypeAlias = Literal["none", "loading", "complete"]


def task_of(item: Item, *, done: bool) -> Task | None:
    """The step for an item that is not a message, a thought, a function call or an image.

    One that failed has no tick, and says why.

    Args:
        item: As it began, or as it ended.
        done: Whether it has ended.

    Returns:
        None: There is nothing to show.
    """
    kind = text_of(item.get("type"))
    status: _Status = "loading" if not done else "none" if _failed(item) else "complete"
    match kind:
        case "web_search_call":
            return _web_search(item, status)
        case "file_search_call":
            return _file_search(item, status)
        case "code_interpreter_call":
            return _code(item, status)
        case "mcp_list_tools":
            title = f"Tools of {_server(item)}"
            return _custom(title, status, item, icon="suitcase")
        case "mcp_call":
            return _mcp_call(item, status)
        case "mcp_approval_request":
            content = _arguments(item)
            return CustomTask(title=f"{_mcp_name(item)} needs an approval", icon="keys", content=content)
        case "tool_search_call":
            return _custom(
                "Looking for tools" if not done else "Looked for tools", status, item, icon="search"
            )
        case _ if kind.endswith("_call"):
            return _custom(kind.removesuffix("_call").replace("_", " ").capitalize(), status, item)
        case _:
            return None


def approval_notice(item: Item) -> str:
    """What to tell the user of a call that the provider makes only if someone allows it."""
    return f"The model wants to use {_mcp_name(item)}. That needs an approval, which can't be given here."


def writing_code(code: str) -> CustomTask:
    """The step of code that is being written."""
    return CustomTask(
        title="Writing code", icon="square-code", content=fenced(code, "python"), status_indicator="loading"
    )


def written_code(task: Task) -> str:
    """The code in such a step."""
    return unfenced(task.content) if isinstance(task, CustomTask) and task.content else ""


def pictures(item: Item) -> list[str]:
    """Addresses of the pictures that code has made."""
    urls = (output.get("url") for output in map(fields_of, items_of(item.get("outputs"))))
    return [url for value in urls if value and (url := image_url(value)) is not None]


def _failed(item: Item) -> bool:
    return bool(item.get("error")) or text_of(item.get("status")) in {"failed", "incomplete", "cancelled"}


def _web_search(item: Item, status: _Status) -> SearchTask:
    action = fields_of(item.get("action"))
    sources = [*_pages(action)]
    match action.get("type"):
        case "open_page":
            return SearchTask(title="Opened a page", sources=sources, status_indicator=status)
        case "find_in_page" | "find":
            title = f"Looked for “{_short(action.get('pattern'))}” in a page"
            return SearchTask(title=title, sources=sources, status_indicator=status)
        case _:
            pass
    asked = [text_of(query) for query in items_of(action.get("queries"))] or [text_of(action.get("query"))]
    queries = [query for query in asked if query]
    titles = {
        "loading": "Searching the web",
        "complete": "Searched the web",
        "none": "Could not search the web",
    }
    return SearchTask(
        title=titles[status],
        title_query=queries[0] if queries else None,
        queries=queries,
        sources=sources,
        status_indicator=status,
    )


def _pages(action: Item) -> Iterator[URLSource]:
    """The pages of an action: the one it is about, then those that a search has found."""
    found: dict[str, URLSource] = {}
    for page in [action, *map(fields_of, items_of(action.get("sources")))]:
        source = url_source(page.get("url"), page.get("title"))
        if source is not None and len(found) < _MAX_SOURCES:
            found.setdefault(source.url, source)
    yield from found.values()


def _file_search(item: Item, status: _Status) -> FileTask:
    found: dict[str, FileSource] = {}
    for result in map(fields_of, items_of(item.get("results"))):
        source = file_source(result.get("filename"))
        if source is not None and len(found) < _MAX_SOURCES:
            found.setdefault(source.filename, source)
    titles = {"loading": "Searching files", "complete": "Searched files", "none": "Could not search files"}
    queries = [f"“{_short(query)}”" for query in items_of(item.get("queries")) if text_of(query)]
    title = " for ".join([titles[status], *([", ".join(queries[:3])] if queries else [])])
    return FileTask(title=title, sources=list(found.values()), status_indicator=status)


def _code(item: Item, status: _Status) -> CustomTask:
    code = text_of(item.get("code"))
    logs = [text_of(output.get("logs")) for output in map(fields_of, items_of(item.get("outputs")))]
    blocks = [fenced(code, "python")] if code else []
    blocks += [fenced(_cut(log)) for log in logs if log]
    waiting = "Running code" if code else "Writing code"
    titles = {"loading": waiting, "complete": "Ran code", "none": "Code failed"}
    return CustomTask(
        title=titles[status],
        icon="info" if status == "none" else "square-code",
        content="\n\n".join(blocks) or None,
        status_indicator=status,
    )


def _mcp_call(item: Item, status: _Status) -> CustomTask:
    output = text_of(item.get("output"))
    blocks = [_arguments(item), fenced(_cut(output)) if output else None]
    return _custom(_mcp_name(item), status, item, *(block for block in blocks if block), icon="cube")


def _custom(title: str, status: _Status, item: Item, *blocks: str, icon: str | None = None) -> CustomTask:
    error = item.get("error")
    if error:
        message = error if isinstance(error, str) else fields_of(error).get("message") or _json(error)
        blocks = (*blocks, fenced(_cut(str(message))))
    return CustomTask(
        title=title,
        icon="info" if status == "none" else icon,
        content="\n\n".join(blocks) or None,
        status_indicator=status,
    )


def _arguments(item: Item) -> str | None:
    arguments = item.get("arguments")
    text = arguments if isinstance(arguments, str) else _json(arguments) if arguments else ""
    return fenced(_cut(text), "json") if text else None


def _mcp_name(item: Item) -> str:
    return f"{_short(item.get('name')) or 'A tool'} ({_server(item)})"


def _server(item: Item) -> str:
    return _short(item.get("server_label")) or "a server"


def _short(value: object) -> str:
    return _cut(" ".join(text_of(value).split()), _MAX_NAME)


def _cut(text: str, most: int = _MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _json(value: object) -> str:
    return encode_json(value).decode()
