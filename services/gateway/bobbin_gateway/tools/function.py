"""Functions as tools: the schema comes from their type hints, the description from their docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from copy import deepcopy
from functools import partial
from typing import Annotated, Any, get_type_hints, overload

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.tool import ToolError, ToolSpec

Function = Callable[..., Awaitable[object]]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ARGUMENTS = re.compile(
    r"^(?:Args|Arguments|Parameters):[ \t]*\n(?P<lines>(?:[ \t]+.*\n?|\n)*)", re.MULTILINE
)
_SECTION = re.compile(
    r"^(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):[ \t]*$", re.MULTILINE
)
_ARGUMENT = re.compile(r"(?P<indent>[ \t]+)(?P<name>\w+)[^:\n]*:[ \t]*(?P<text>.*)\Z")


class FunctionTool:
    """A tool that is an async function."""

    def __init__(
        self,
        function: Function,
        *,
        name: str | None = None,
        description: str | None = None,
        title: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Make a tool of a function; see `tool`.

        Raises:
            TypeError: It is no async function, or its arguments have no types that JSON can have.
            ValueError: Its name is not one that model APIs take.
        """
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no async function")
        name = name or function.__name__
        if not _NAME.match(name):
            raise ValueError(f"{name!r}: a tool's name has 1 to 64 letters, digits, _ and - only")
        documentation = inspect.getdoc(function) or ""
        self._function = function
        self._arguments, self._takes_context = _arguments_of(function, name, _described(documentation))
        self._decode = msgspec.json.Decoder(self._arguments, strict=False).decode
        self.timeout_s = timeout_s
        self.spec = ToolSpec(
            name=name,
            description=description or _summary(documentation),
            parameters=_schema(self._arguments),
            title=title or name.replace("_", " ").replace("-", " ").capitalize(),
        )

    async def call(self, context: ToolContext, arguments: str) -> str:
        """Call the function; what it returns is told to the model, as JSON unless it is text.

        Raises:
            ToolError: The arguments do not fit; or the function says so.
        """
        try:
            decoded = self._decode(arguments.strip() or "{}")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ToolError(f"The arguments do not fit: {error}") from error
        values = {field: getattr(decoded, field) for field in self._arguments.__struct_fields__}
        before = (context,) if self._takes_context else ()
        result = await self._function(*before, **values)
        return result if isinstance(result, str) else msgspec.json.encode(result).decode()


@overload
def tool(function: Function, /) -> FunctionTool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    title: str | None = None,
    timeout_s: float | None = None,
) -> Callable[[Function], FunctionTool]: ...


def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    title: str | None = None,
    timeout_s: float | None = None,
) -> FunctionTool | Callable[[Function], FunctionTool]:
    """Make a tool of an async function.

    Its arguments are checked against their type hints before it is called; whatever msgspec can decode will
    do (structs, literals, ``Annotated[int, Meta(ge=1)]`` ...). A first parameter of type `ToolContext` is not
    the model's: it says who asks, and can show things.

    Args:
        function: The function, when the decorator is used without arguments.
        name: What the model calls it; by default the function's name.
        description: What the model reads of it; by default the docstring, whose ``Args`` section describes
            the parameters.
        title: What the user sees of a call; by default made from the name.
        timeout_s: Longest run of a call, in seconds; by default `TOOL_TIMEOUT_S`.
    """

    def decorated(function: Function) -> FunctionTool:
        return FunctionTool(function, name=name, description=description, title=title, timeout_s=timeout_s)

    return decorated if function is None else decorated(function)


def _arguments_of(function: Function, name: str, described: dict[str, str]) -> tuple[type[Struct], bool]:
    """The function's arguments as a struct, and whether a context comes before them."""
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    takes_context = False
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.name not in hints:
            raise TypeError(f"{name}: the parameter {parameter.name!r} has no type")
        kind = hints[parameter.name]
        if position == 0 and kind is ToolContext:
            takes_context = True
            continue
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise TypeError(f"{name}: the parameter {parameter.name!r} cannot be given by its name")
        if parameter.name in described:
            kind = Annotated[kind, Meta(description=described[parameter.name])]
        fields.append((parameter.name, kind, _default(parameter)))
    struct = msgspec.defstruct(name.replace("-", "_"), fields, kw_only=True, forbid_unknown_fields=True)
    return struct, takes_context


def _default(parameter: inspect.Parameter) -> Any:
    default: Any = parameter.default
    if default is parameter.empty:
        return NODEFAULT
    if type(default) in {list, dict, set}:  # msgspec copies empty ones only
        return msgspec.field(default_factory=partial(deepcopy, default))
    return default


def _schema(arguments: type[Struct]) -> dict[str, Any]:
    """JSON Schema of the arguments, without the name that msgspec gives them."""
    (top,), components = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    own = top["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = {**components.pop(own)}
    schema.pop("title", None)
    return {**schema, "$defs": components} if components else schema


def _summary(documentation: str) -> str:
    """The docstring up to its first section."""
    section = _SECTION.search(documentation)
    return documentation[: section.start() if section else None].strip()


def _described(documentation: str) -> dict[str, str]:
    """The parameters that the docstring describes."""
    section = _ARGUMENTS.search(documentation)
    found: dict[str, str] = {}
    indent = name = ""
    for line in section["lines"].splitlines() if section else ():
        entry = _ARGUMENT.match(line)
        if entry and (not name or len(entry["indent"]) <= len(indent)):
            indent, name = entry["indent"], entry["name"]
            found[name] = entry["text"].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
