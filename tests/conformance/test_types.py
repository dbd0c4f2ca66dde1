"""Our protocol types beside those of the reference, openai-chatkit: same shapes, same JSON, both ways.

The shapes are compared class by class, so that nothing the reference has is missing here; then values made
from our types go through the reference's, and values made from the reference's go through ours.
The tables of differences below are complete: a difference that is not in them fails a test.
"""

import inspect
import json
import types
import typing
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from functools import cache
from typing import Any

import msgspec
import msgspec.inspect as mi
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference calls its own widgets deprecated
    import chatkit.actions
    import chatkit.icons
    import chatkit.types
    import chatkit.widgets
    from pydantic import AnyUrl, BaseModel, TypeAdapter
    from typing_extensions import is_typeddict

import bobbin_protocol.events
import bobbin_protocol.icons
import bobbin_protocol.requests
import bobbin_protocol.responses
import bobbin_protocol.widgets
from bobbin_protocol.actions import without_nulls
from bobbin_protocol.wire import Wire, encode_json

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# ----------------------------------------------------------------------------------------------------------
# The differences, each with its reason

NOT_OURS = {
    "DynamicWidgetComponent": "is the plain JSON object that every decoded widget stays",
    "DynamicWidgetRoot": "is the plain JSON object that every decoded widget stays",
    "WidgetStatusWithFavicon": "is WidgetStatus here: msgspec can't tell two untagged objects apart",
    "WidgetStatusWithIcon": "is WidgetStatus here: msgspec can't tell two untagged objects apart",
}
ONLY_WE_CALL_OPTIONAL = {
    ("UserMessageInput", "attachments"): "a plain client should not have to say that it has none",
    ("UserMessageInput", "inference_options"): "a plain client should not have to say that it has none",
    ("ThreadAddClientToolOutputParams", "result"): "a required null, which our wire has not",
    ("HiddenContextItem", "content"): "a required null, which our wire has not",
    ("BarSeries", "label"): "a required null, which the reference itself leaves out",
    ("AreaSeries", "label"): "a required null, which the reference itself leaves out",
    ("LineSeries", "label"): "a required null, which the reference itself leaves out",
    ("Transition", "children"): "a required null, which the reference itself leaves out",
    ("Action", "type"): "",  # the reverse: the reference's default is a type variable, by mistake
}
OTHER_FIELDS = {
    "WidgetComponentBase": {"type"},  # which has its place in the subclasses, as their tag
    "BoxBase": {"key", "id"},  # which the reference mixes in later
}
IN_ANOTHER_ORDER = {
    "Box": "key and id come first as in all other components",
    "Row": "key and id come first as in all other components",
    "Col": "key and id come first as in all other components",
    "Form": "key and id come first as in all other components",
    "BoxBase": "key and id come first as in all other components",
}
DECODED_AS_JSON = {
    ("WidgetItem", "widget"),
    ("WidgetRootUpdated", "widget"),
    ("WidgetComponentUpdated", "component"),
    ("Workflow", "summary"),
    *((box, "border") for box in ("Box", "BoxBase", "Row", "Col", "Form")),
}
"""Fields whose types msgspec does not see; their values are compared like all others."""
EXPLAINED_ABOVE = {("Card", "status"), ("ListView", "status"), ("BasicRoot", "children")}
"""Fields of a type that ``NOT_OURS`` explains."""
NOT_ON_THE_WIRE = {"AudioInput": "is what an agent gets, decoded"}

# ----------------------------------------------------------------------------------------------------------
# The classes on either side, by name


def _their_classes() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in (chatkit.actions, chatkit.types, chatkit.widgets):
        for kind in vars(module).values():
            is_class = inspect.isclass(kind) and kind.__module__ == module.__name__
            if is_class and (is_typeddict(kind) or issubclass(kind, BaseModel)):
                found[kind.__name__] = kind
    for kind in found.values():
        if not is_typeddict(kind):
            kind.model_rebuild()  # resolves forward references, which are else left until the first use
    return found


def _our_classes(root: type = Wire) -> Iterator[tuple[str, Any]]:
    for kind in root.__subclasses__():
        if kind.__module__.startswith("bobbin_protocol.") and ".store" not in kind.__module__:
            yield kind.__name__, kind
        yield from _our_classes(kind)


THEIRS = _their_classes()
OURS = dict(_our_classes())
COMMON = sorted(THEIRS.keys() & OURS.keys())
CONCRETE = [
    name
    for name in COMMON
    if name not in NOT_ON_THE_WIRE and name != "Page" and not name.endswith("Base") and name[:4] != "Base"
]

ICON_LITERAL = typing.get_args(chatkit.icons.IconName)[0]

UNIONS: dict[str, tuple[Any, Any]] = {
    name: (getattr(ours, name), getattr(theirs, name))
    for ours, theirs, names in (
        (bobbin_protocol.requests, chatkit.types, ("ChatKitReq", "StreamingReq", "NonStreamingReq")),
        (bobbin_protocol.events, chatkit.types, ("ThreadStreamEvent", "ThreadItemUpdate", "ThreadItem")),
        (bobbin_protocol.items, chatkit.types, ("Task", "Source", "Attachment", "StructuredInput")),
        (bobbin_protocol.items, chatkit.types, ("UserMessageContent",)),
        (bobbin_protocol.threads, chatkit.types, ("ThreadStatus",)),
        (bobbin_protocol.widgets, chatkit.widgets, ("StrictWidgetComponent", "StrictWidgetRoot", "Series")),
    )
    for name in names
}


def _members(union: Any) -> set[str]:
    if typing.get_origin(union) is typing.Annotated:
        return _members(typing.get_args(union)[0])
    members: set[str] = set()
    for member in typing.get_args(union):
        members |= _members(member) if typing.get_args(member) else {member.__name__}
    return members


# ----------------------------------------------------------------------------------------------------------
# Shapes


def test_every_class_of_the_reference_has_its_counterpart() -> None:
    assert THEIRS.keys() - OURS.keys() == NOT_OURS.keys()
    assert len(COMMON) > 150


@pytest.mark.parametrize("name", UNIONS)
def test_a_union_has_the_members_of_the_reference(name: str) -> None:
    ours, theirs = UNIONS[name]
    assert _members(ours) == _members(theirs)


def test_the_icons_are_those_of_the_reference() -> None:
    assert set(typing.get_args(ICON_LITERAL)) == bobbin_protocol.icons.ICON_NAMES


def test_the_roots_are_those_of_the_reference() -> None:
    kinds = chatkit.widgets.DynamicWidgetRoot.model_fields["type"].annotation
    assert set(typing.get_args(kinds)) == bobbin_protocol.widgets.ROOT_TYPES


def test_a_status_has_the_fields_of_both_its_kinds_in_the_reference() -> None:
    kinds = THEIRS["WidgetStatusWithFavicon"], THEIRS["WidgetStatusWithIcon"]
    assert {field for kind in kinds for field in _their_fields(kind)} == set(
        _our_fields(OURS["WidgetStatus"])
    )


@pytest.mark.parametrize("name", COMMON)
def test_a_class_has_the_fields_of_the_reference_in_the_same_order(name: str) -> None:
    config = OURS[name].__struct_config__
    ours = [config.tag_field] if config.tag is not None else []
    ours += _our_fields(OURS[name])
    theirs = list(_their_fields(THEIRS[name]))
    assert set(ours) ^ set(theirs) == OTHER_FIELDS.get(name, set())
    if name not in IN_ANOTHER_ORDER:
        # A tag is always first: JSON objects have no order that a client may rely on.
        assert [field for field in ours if field != "type"] == [field for field in theirs if field != "type"]


@pytest.mark.parametrize("name", COMMON)
def test_a_class_has_the_tag_of_the_reference(name: str) -> None:
    tag = OURS[name].__struct_config__.tag
    if tag is not None:
        assert _literals(_their_fields(THEIRS[name])["type"].kind) == {tag}


@pytest.mark.parametrize("name", COMMON)
def test_a_class_requires_what_the_reference_requires(name: str) -> None:
    theirs = _their_fields(THEIRS[name])
    required = {field for field in theirs if theirs[field].required} - {"type"}
    ours = {field.name for field in mi.type_info(OURS[name]).fields if field.required} - {"type"}
    assert ours ^ required == {
        field for cls, field in ONLY_WE_CALL_OPTIONAL if cls == name and field != "type"
    }


@pytest.mark.parametrize("name", COMMON)
def test_a_field_knows_the_values_and_types_of_the_reference(name: str) -> None:
    ours = _our_fields(OURS[name])
    for field, theirs in _their_fields(THEIRS[name]).items():
        if field not in ours or (name, field) in DECODED_AS_JSON | EXPLAINED_ABOVE:
            continue
        assert _our_literals(ours[field]) == _literals(theirs.kind), field
        assert _our_structs(ours[field]) == _models(theirs.kind) - NOT_OURS.keys(), field


class _TheirField(typing.NamedTuple):
    kind: Any
    required: bool


def _their_fields(kind: Any) -> dict[str, _TheirField]:
    if is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {
            name: _TheirField(typing.get_args(hint)[0], required=False)
            if typing.get_origin(hint) is typing.NotRequired
            else _TheirField(hint, required=True)
            for name, hint in hints.items()
        }
    return {
        name: _TheirField(typing.Annotated[field.annotation, *field.metadata] if field.metadata
                          else field.annotation, field.is_required())
        for name, field in kind.model_fields.items()
    }  # fmt: skip


def _our_fields(kind: Any) -> dict[str, mi.Type]:
    return {field.name: field.type for field in mi.type_info(kind).fields}


def _parts(kind: Any) -> Iterator[Any]:
    """Walk a type hint of the reference, without entering its classes or the names of icons."""
    if kind == ICON_LITERAL:
        return
    yield kind
    for part in typing.get_args(kind) if typing.get_origin(kind) is not typing.Literal else ():
        yield from _parts(part)


def _literals(kind: Any) -> set[Any]:
    found: set[Any] = set()
    for part in _parts(kind):
        if typing.get_origin(part) is typing.Literal:
            # A literal False is a plain bool here: msgspec has literals of str and int only.
            found |= {value for value in typing.get_args(part) if not isinstance(value, bool)}
        elif inspect.isclass(part) and issubclass(part, Enum):
            found |= {member.value for member in part}
    return found


def _models(kind: Any) -> set[str]:
    names = {part.__name__.partition("[")[0] for part in _parts(kind) if inspect.isclass(part)}
    return names & THEIRS.keys()


def _our_parts(kind: mi.Type) -> Iterator[mi.Type]:
    yield kind
    match kind:
        case mi.UnionType():
            for part in kind.types:
                yield from _our_parts(part)
        case mi.ListType():
            yield from _our_parts(kind.item_type)
        case mi.DictType():
            yield from _our_parts(kind.value_type)
        case _:
            pass


def _our_literals(kind: mi.Type) -> set[Any]:
    return {value for part in _our_parts(kind) if isinstance(part, mi.LiteralType) for value in part.values}


def _our_structs(kind: mi.Type) -> set[str]:
    return {part.cls.__name__ for part in _our_parts(kind) if isinstance(part, mi.StructType)}


# ----------------------------------------------------------------------------------------------------------
# Values for both sides

DEPTH = 2
"""How deep components nest in made-up widgets."""

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
WHOLE = st.integers(-(2**53), 2**53)
REAL = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | REAL | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
TIMES = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 (hypothesis adds the zone)
    timezones=st.sampled_from([UTC, None, timezone(timedelta(hours=-7)), timezone(timedelta(hours=5.5))]),
)
# The reference normalises URLs, we send them as given: these are the same either way.
URLS = st.sampled_from(["https://a.example/b?c=d#e", "http://localhost:8000/x", "data:image/png;base64,AA=="])
ICONS = st.sampled_from([*sorted(bobbin_protocol.icons.ICON_NAMES), "vendor:x", "lucide:y z"])


def _object(fields: dict[str, st.SearchStrategy[Any]], optional: set[str]) -> st.SearchStrategy[Any]:
    needed = {name: fields[name] for name in fields if name not in optional}
    return st.fixed_dictionaries(needed, optional={name: fields[name] for name in optional})


def _mapping(kind: Callable[..., Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


# Ours ---------------------------------------------------------------------------------------------------

_STRINGS = {
    bobbin_protocol.icons.IconName: ICONS,
    bobbin_protocol.attachments.AbsoluteUrl: URLS,
    bobbin_protocol.requests.Id: st.text("aZ09_.:-", min_size=1, max_size=128),
}
_BY_PATTERN = {mi.type_info(kind).pattern: strategy for kind, strategy in _STRINGS.items()}


def _our_value(kind: mi.Type, depth: int) -> st.SearchStrategy[Any]:  # noqa: PLR0911, PLR0912 (a table)
    match kind:
        case mi.AnyType():
            return JSON
        case mi.NoneType():
            return st.none()
        case mi.BoolType():
            return st.booleans()
        case mi.IntType():
            return WHOLE if kind.ge is None else st.integers(kind.ge, 2**53)
        case mi.FloatType():
            return REAL
        case mi.DateTimeType():
            return TIMES
        case mi.StrType() if kind.pattern in _BY_PATTERN:
            return _BY_PATTERN[kind.pattern]
        case mi.StrType():
            return _LINES if kind.pattern or kind.min_length else TEXT
        case mi.LiteralType():
            return st.sampled_from(kind.values)
        case mi.ListType():
            size = 2 if depth > 0 else 0
            return st.lists(_our_value(kind.item_type, depth - 1), max_size=size) if size else st.just([])
        case mi.DictType():
            return st.dictionaries(TEXT, _our_value(kind.value_type, depth), max_size=2)
        case mi.UnionType():
            return st.one_of([_our_value(part, depth) for part in kind.types if _fits(part, depth)])
        case mi.StructType():
            return _our_struct(kind.cls, depth)
        case _:
            raise NotImplementedError(kind)


def _fits(kind: mi.Type, depth: int) -> bool:
    """Tell whether a part of a union may be chosen at this depth: containers only while there is room."""
    return depth > 0 or not isinstance(kind, mi.StructType) or "children" not in kind.cls.__struct_fields__


@cache
def _our_struct(cls: Any, depth: int = DEPTH) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _our_fields_together(cls, depth))


def _our_fields_together(cls: Any, depth: int) -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in mi.type_info(cls).fields:
        special = _special(cls.__name__, field.name, depth)
        fields[field.name] = _our_value(field.type, depth) if special is None else special
    optional = {field.name for field in mi.type_info(cls).fields if not field.required}
    optional -= {field for name, field in ONLY_WE_CALL_OPTIONAL if name == cls.__name__}
    return _object(fields, optional).map(lambda values: cls(**values))


def _special(name: str, field: str, depth: int) -> st.SearchStrategy[Any] | None:
    """Give a strategy for a field whose type msgspec does not see, or that the reference takes otherwise."""
    roots = [OURS[kind] for kind in ("Card", "ListView", "BasicRoot")]
    components = [OURS[kind] for kind in ("Text", "Button", "Row", "Chart", "DatePicker", "Transition")]
    unknown = st.builds(lambda more: {"type": "Sparkles", **without_nulls(more)}, _mapping(dict, glow=JSON))
    match name, field:
        case (("WidgetItem" | "WidgetRootUpdated"), "widget"):
            return st.one_of([_our_struct(root, depth) for root in roots])
        case "WidgetComponentUpdated", "component":
            return st.one_of([_our_struct(component, depth) for component in components] + [unknown])
        case "Workflow", "summary":
            return _our_struct(OURS["CustomSummary"]) | _our_struct(OURS["DurationSummary"])
        case _, "border":
            return WHOLE | _our_struct(OURS["Border"]) | _our_struct(OURS["Borders"])
        case "Text", "editable":
            return st.just(value=False) | _our_struct(OURS["EditableProps"])
        case (("FileAttachment" | "ImageAttachment"), "metadata") | ("WidgetStatus", "icon"):
            return st.none()  # the reference never sends the first, nor the second beside a favicon
        case (("BarSeries" | "AreaSeries" | "LineSeries"), "label"):
            return TEXT
        case "Transition", "children":
            return _our_struct(OURS["Text"])
        case ("HiddenContextItem", "content") | ("ThreadAddClientToolOutputParams", "result"):
            return JSON.filter(lambda value: value is not None)
        case _:
            return None


# Theirs ---------------------------------------------------------------------------------------------------

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON,
    str: TEXT,
    int: WHOLE,
    float: REAL,
    bool: st.booleans(),
    datetime: TIMES,
    AnyUrl: URLS,
    type(None): st.none(),
}
_IDS = st.text("aZ09_.:-", min_size=1, max_size=128)
_LINES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=9)
_RULES = {
    **dict.fromkeys(["thread_id", "item_id", "after", "attachment_id"], _IDS),
    **dict.fromkeys(["name", "mime_type"], _LINES),
    **dict.fromkeys(["item_ids", "attachments"], st.lists(_IDS, max_size=3)),
    "title": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    "size": st.integers(0, 2**53),
    "limit": st.none() | st.integers(0, 2**53),
}
"""What our requests ask beyond the reference: see ``requests.py``."""


def _their_value(kind: Any, depth: int) -> st.SearchStrategy[Any]:
    if isinstance(kind, typing.TypeVar):
        return JSON
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        prefixes = [rule.pattern.removeprefix("^") for rule in parts[1:] if getattr(rule, "pattern", None)]
        return TEXT.map(prefixes[0].__add__) if prefixes else _their_value(parts[0], depth)
    if origin is typing.Literal:
        return st.sampled_from(parts)
    if origin in {typing.Union, types.UnionType}:
        fitting = [part for part in parts if depth > 0 or "children" not in getattr(part, "model_fields", {})]
        return st.one_of([_their_value(part, depth) for part in fitting or parts])
    if origin is list:
        return st.lists(_their_value(parts[0], depth - 1), max_size=2) if depth > 0 else st.just([])
    if origin is dict:
        return st.dictionaries(TEXT, _their_value(parts[1], depth), max_size=2)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return _their_object(kind, depth)


@cache
def _their_object(kind: Any, depth: int = DEPTH) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _their_fields_together(kind, depth))


def _their_fields_together(kind: Any, depth: int) -> st.SearchStrategy[Any]:
    fields = _their_fields(kind)
    is_request = kind.__name__.endswith("Params") or kind.__name__ == "UserMessageInput"
    values = {
        name: _RULES[name] if is_request and name in _RULES else _their_value(field.kind, depth)
        for name, field in fields.items()
    }
    if kind.__name__ == "DynamicWidgetComponent":
        values |= {"type": st.just("Sparkles"), "glow": JSON}
        return _object(values, values.keys() - {"type"})
    if kind.__name__ == "Action" or kind.__name__.startswith("Action["):
        return _object(values | {"type": TEXT}, {"payload"})
    tag = {"type"} if "type" in fields and _literals(fields["type"].kind) else set()
    return _object(values, {name for name, field in fields.items() if not field.required} - tag)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(THEIRS[name])


def _sent_by_the_reference(adapter: TypeAdapter[Any], value: Any) -> bytes:
    return adapter.dump_json(value, by_alias=True, exclude_none=True, context={"exclude_metadata": True})


def _comparable(sent: bytes, *, widget: bool = False) -> Any:
    """Parse JSON for comparison: times as moments in UTC, and no nulls within what belongs to a widget."""

    def with_moments(members: dict[str, Any]) -> dict[str, Any]:
        return {key: _moment(value) if key == "created_at" else value for key, value in members.items()}

    value = json.loads(sent, object_hook=with_moments)
    return without_nulls(value) if widget else value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _of_widgets(name: str) -> bool:
    return OURS[name].__module__.startswith("bobbin_protocol.widgets") or name == "ActionConfig"


relaxed = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@pytest.mark.parametrize("name", CONCRETE)
@relaxed
@given(data=st.data())
def test_what_we_send_is_valid_there_and_comes_back_the_same(name: str, data: st.DataObject) -> None:
    sent = encode_json(data.draw(_our_struct(OURS[name])))
    adapter = _adapter(name)
    returned = _sent_by_the_reference(adapter, adapter.validate_json(sent))
    assert _comparable(returned) == _comparable(sent)
    again = encode_json(msgspec.json.decode(returned, type=OURS[name]))
    assert _comparable(again) == _comparable(sent)


@pytest.mark.parametrize("name", CONCRETE)
@relaxed
@given(data=st.data())
def test_what_the_reference_sends_is_valid_here_and_comes_back_the_same(
    name: str, data: st.DataObject
) -> None:
    adapter = _adapter(name)
    sent = _sent_by_the_reference(adapter, adapter.validate_python(data.draw(_their_object(THEIRS[name]))))
    widget = _of_widgets(name)
    # Only a whole widget may hold components that have no type: it is decoded as plain JSON.
    assume(not widget or b'"Sparkles"' not in sent)
    returned = encode_json(msgspec.json.decode(sent, type=OURS[name]))
    assert _comparable(returned, widget=widget) == _comparable(sent, widget=widget)


IN_UNIONS = [(union, member) for union in UNIONS for member in sorted(_members(UNIONS[union][0]))]


@pytest.mark.parametrize(("union", "member"), IN_UNIONS)
@settings(relaxed, max_examples=5)
@given(data=st.data())
def test_a_union_finds_the_type_by_its_tag(union: str, member: str, data: st.DataObject) -> None:
    adapter = _adapter(member)
    sent = _sent_by_the_reference(adapter, adapter.validate_python(data.draw(_their_object(THEIRS[member]))))
    assume(not union.startswith("Strict") or b'"Sparkles"' not in sent)
    assert type(msgspec.json.decode(sent, type=UNIONS[union][0])) is OURS[member]
