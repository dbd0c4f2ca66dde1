"""An agent that shows widgets, and all else that `replies` can say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from bobbin_gateway import questions, replies
from bobbin_gateway.agent import Turn
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.tasks import CustomTask
from bobbin_protocol.widgets import (
    ActionConfig,
    AreaSeries,
    Badge,
    BarSeries,
    BasicRoot,
    Border,
    Borders,
    Box,
    Button,
    Caption,
    Card,
    CardAction,
    Chart,
    Checkbox,
    Col,
    DatePicker,
    Divider,
    EditableProps,
    Form,
    Icon,
    Image,
    Input,
    Label,
    LineSeries,
    ListView,
    ListViewItem,
    Markdown,
    RadioGroup,
    RadioOption,
    Row,
    Select,
    SelectOption,
    Spacer,
    Spacing,
    StrictWidgetRoot,
    Text,
    Textarea,
    ThemeColor,
    Title,
    Transition,
    WidgetRoot,
    WidgetStatus,
    XAxisConfig,
)

GO = ActionConfig(type="go", payload={"id": 7})


def weather(forecast: str, *, streaming: bool, label: str = "today", size: str = "16") -> Card:
    """A widget that changes in a text, in a component, and as a whole."""
    return Card(
        padding=size,
        children=[
            Row(id="head", children=[Title(value="Weather"), Badge(label=label)]),
            Markdown(id="forecast", value=forecast, streaming=streaming),
        ],
    )


WEATHER = [
    weather("", streaming=True),
    weather("Sun,", streaming=True),
    weather("Sun, then **rain**", streaming=True),
    weather("Sun, then **rain**.", streaming=False),
    weather("Sun, then **rain**.", streaming=False, label="tomorrow"),
    weather("Sun, then **rain**.", streaming=False, label="tomorrow", size="8"),
]

_SHOWING = Card(
    status=WidgetStatus(text="Up to date", icon="check"),
    background=ThemeColor(light="white", dark="black"),
    children=[
        Title(value="Title", size="lg"),
        Caption(value="Caption", color="secondary"),
        Text(value="Text", id="text", editable=EditableProps(name="text", required=True)),
        Markdown(value="**Markdown**"),
        Row(gap=2, children=[Badge(label="Badge", color="info"), Spacer(), Icon(name="star")]),
        Box(direction="col", border=Borders(top=Border(size=1, style="dashed")), children=[]),
        Col(padding=Spacing(x=2, y="4px"), children=[Divider(flush=True)]),
        Image(src="https://a.example/b.png", alt="Image", size=64),
        Transition(children=Text(value="Only child")),
    ],
)

_ASKING = Card(
    asForm=True,
    confirm=CardAction(label="Save", action=GO),
    cancel=CardAction(label="Leave", action=ActionConfig(type="leave", handler="client")),
    children=[
        Form(
            onSubmitAction=GO,
            children=[
                Label(value="Name", fieldName="name"),
                Input(name="name", inputType="text", required=True),
                Textarea(name="about", rows=3, autoResize=True),
                Checkbox(name="news", label="News", defaultChecked=True),
                Select(name="size", options=[SelectOption(value="s", label="S")], onChangeAction=GO),
                RadioGroup(name="way", options=[RadioOption(value="a", label="A")], direction="row"),
                DatePicker(name="day", min=datetime(2024, 1, 1), side="top"),  # noqa: DTZ001 (the user's own time)
                Button(label="Send", submit=True, iconEnd="bolt"),
            ],
        )
    ],
)

_LISTING = ListView(
    limit=5,
    children=[ListViewItem(key="1", onClickAction=GO, children=[Text(value="First")])],
)

_CHARTING = BasicRoot(
    children=[
        Chart(
            data=[{"day": "Mon", "rain": 3, "sun": 4.5}],
            series=[
                BarSeries(dataKey="rain", label="Rain", color="blue"),
                AreaSeries(dataKey="sun", curveType="natural"),
                LineSeries(dataKey="sun", label="Sun"),
            ],
            xAxis=XAxisConfig(dataKey="day", labels={"Mon": "Monday"}),
            aspectRatio=1.5,
        )
    ]
)

EVERY_KIND: list[StrictWidgetRoot] = [_SHOWING, _ASKING, _LISTING, _CHARTING]
"""Widgets in which every component of the protocol stands."""


class Showing:
    """The message says what to show."""

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        if turn.text == "everything":
            for event in _everything(turn):
                yield event
            async for event in replies.stream_text(turn, _words()):
                yield event
            yield replies.end_of_turn(turn)
        for widget in _widgets(turn.text):
            async for event in replies.widget(turn, widget, copy_text=turn.text):
                yield event


def _widgets(word: str) -> Sequence[WidgetRoot | AsyncIterator[WidgetRoot]]:
    match word:
        case "weather":
            return [_states()]
        case "storm":
            return [_states(breaks=True)]
        case "endless":
            return [_states(endless=True)]
        case "nothing":
            return [_none()]
        case "kinds":
            return EVERY_KIND
        case _:
            return []


def _everything(turn: Turn) -> list[ThreadStreamEvent]:
    return [
        replies.progress("Looking", "search"),
        replies.notice("**Careful**", level="warning", title="Ice"),
        replies.effect("highlight", id=7),
        replies.hidden(turn, {"seen": [7]}),
        replies.task(turn, CustomTask(title="Looked")),
        replies.image(turn, "https://a.example/b.png"),
        replies.message(turn, "*Done*"),
        replies.questions(
            turn, [questions.choice("size", "Which?", ["S", "M"]), questions.freeform("note", "Else?")]
        ),
        replies.client_tool_call(turn, "locate", {"precise": True}, call_id="call_7"),
    ]


async def _words() -> AsyncIterator[str]:
    for word in ("Bit", " by", " bit"):
        yield word


async def _none() -> AsyncIterator[WidgetRoot]:
    for widget in WEATHER[:0]:
        yield widget


async def _states(*, breaks: bool = False, endless: bool = False) -> AsyncIterator[WidgetRoot]:
    for widget in WEATHER[:3] if breaks or endless else WEATHER:
        yield widget
    if breaks:
        raise RuntimeError("secret internals")
    if endless:
        await asyncio.Event().wait()


showing = Showing()
