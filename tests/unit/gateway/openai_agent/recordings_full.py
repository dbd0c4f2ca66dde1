"""The full ChatKit form of every recorded stream, written by reading the recordings.

Long texts stand here by their beginnings and lengths in characters, which were counted by putting the fields
of a recording together, without any code of ours. Items that are left out (tool search results, encrypted
thoughts, empty messages) have nothing to show.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from bobbin_protocol import items, sources, tasks

Task = tuple[Any, ...]
Item = tuple[Any, ...]
Annotation = tuple[str, str, int | None]


class Begins:
    """Stands for any text of this length that begins like this."""

    def __init__(self, starts: str, length: int) -> None:
        self._starts = starts
        self._length = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(self._starts) and len(other) == self._length

    def __hash__(self) -> int:
        return hash(self._length)

    def __repr__(self) -> str:
        return f"{self._starts!r}... ({self._length} characters)"


class Full(Struct, frozen=True):
    """What a client sees, and what the agent is asked to call."""

    items: list[Item] = []
    calls: list[tuple[str, dict[str, Any]]] = []
    call_ids: list[str] = []
    notices: list[str] = []
    """Words of each."""
    failure: str | None = None
    """Words of it."""


def said(text: str | Begins, *annotations: Annotation) -> Item:
    return ("message", [(text, list(annotations))])


def thinking(*tasks: Task) -> Item:
    return ("reasoning", list(tasks))


def steps(*tasks: Task) -> Item:
    return ("custom", list(tasks))


def image(url: str | Begins) -> Item:
    return ("image", url)


def thought(text: str | Begins) -> Task:
    return ("thought", text)


def searched(*queries: str) -> Task:
    return ("web_search", "complete", "Searched the web", list(queries))


def tool(title: str, content: str | Begins | None = None, status: str = "complete") -> Task:
    return ("custom", status, title, content)


def ours(name: str) -> Task:
    """A call of one of our tools, which waits to be run."""
    return tool(f"Tool {name}", status="loading")


def plain_item(item: items.ThreadItem) -> tuple[Any, ...]:
    """An item as the table has it."""
    match item:
        case items.AssistantMessageItem():
            parts = [
                (part.text, [plain_annotation(one) for one in part.annotations]) for part in item.content
            ]
            return ("message", parts)
        case items.WorkflowItem():
            return (item.workflow.type, [plain_task(task) for task in item.workflow.tasks])
        case items.GeneratedImageItem():
            return ("image", item.image.url if item.image else None)
        case _:
            raise AssertionError(item)


def plain_task(task: tasks.Task) -> tuple[Any, ...]:
    match task:
        case tasks.ThoughtTask():
            return ("thought", task.content)
        case tasks.SearchTask():
            assert task.title_query == (task.queries[0] if task.queries else None)
            return ("web_search", task.status_indicator, task.title, task.queries)
        case tasks.FileTask():
            return ("file", task.status_indicator, task.title, [source.filename for source in task.sources])
        case tasks.CustomTask():
            return ("custom", task.status_indicator, task.title, task.content)
        case _:
            raise AssertionError(task)


def plain_annotation(annotation: items.Annotation) -> tuple[str, str, int | None]:
    source = annotation.source
    assert isinstance(source, sources.URLSource | sources.FileSource)
    return (
        source.url if isinstance(source, sources.URLSource) else source.filename,
        source.title,
        annotation.index,
    )


FASTAPI = "https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/fastapi/fastapi.html"
LOGGING = (
    "https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/logging/logging.html"
    "?utm_source=openai"
)

FULL: dict[str, Full] = {
    "chat-azure-no-delta": Full([said(Begins("I'm unable to provide real-time weather updat", 199))]),
    "chat-azure-tool-call-content-filter": Full(
        [steps(ours("weather"))],
        calls=[("weather", {"location": "Florence, Italy"})],
        call_ids=["call_n1TZAnAlhuLNeb1FaV1XCDuD"],
    ),
    "chat-deepseek-reasoning-content": Full(
        [
            thinking(thought(Begins('Hmm, the user just said "Hello". It\'s a simpl', 882))),
            said("Hello there! 😊 How can I help you today?"),
        ]
    ),
    "chat-gemini-compat-tool-call-single-chunk": Full(
        [steps(ours("Read"))],
        calls=[("Read", {"file_path": "/tmp/a.go"})],
        call_ids=["function-call-11628457821388745023"],
    ),
    "chat-groq-reasoning-then-error": Full(
        [thinking(thought(Begins("We need to call the tool with invalid paramet", 412)))],
        failure="stopped with an error",
    ),
    "chat-mistral-content-list-thinking": Full(
        [thinking(thought(Begins("The user is asking for the product of 12 mult", 174))), said("144")]
    ),
    "chat-mistral-tool-call-no-index": Full(
        [steps(ours("get_weather"))],
        calls=[("get_weather", {"city": "San Francisco"})],
        call_ids=["EscTeQY62"],
    ),
    "chat-ollama-emoji-split": Full(
        [
            thinking(thought(Begins("Okay, the user asked for the weather in Berli", 588))),
            said(Begins("The current weather in Berlin (52.5200, 13.40", 90)),
        ]
    ),
    "chat-openai-parallel-tool-calls": Full(
        [steps(ours("GetWeatherArgs"), ours("get_stock_price"))],
        calls=[
            ("GetWeatherArgs", {"city": "Edinburgh", "country": "GB", "units": "c"}),
            ("get_stock_price", {"ticker": "AAPL", "exchange": "NASDAQ"}),
        ],
        call_ids=["call_JMW1whyEaYG438VE1OIflxA2", "call_DNYTawLBoN8fj3KN6qU9N1Ou"],
    ),
    "chat-openai-refusal": Full([said("I'm sorry, I can't assist with that request.")]),
    "chat-openai-text-usage": Full([said(Begins("I'm unable to provide real-time weather updat", 159))]),
    "chat-opencode-chunk-after-done": Full(
        [thinking(thought(Begins("1.  **Analyze the Request:**\n    *   Command:", 409))), said("Hello")]
    ),
    "chat-openrouter-annotations": Full(
        [
            said(
                Begins("The URL for Pydantic AI's GitHub repository i", 90),
                (
                    "https://github.com/pydantic/pydantic-ai",
                    "AI Agent Framework, the Pydantic way - GitHub",
                    None,
                ),
                ("https://pydantic.dev/pydantic-ai", "pydantic.dev", None),
                (
                    "https://github.com/pydantic/pydantic-ai/releases/tag/v2.0.0",
                    "v2.0.0 (2026-06-23)",
                    None,
                ),
                ("https://pydantic.dev/docs/ai/overview/", "Pydantic AI | Pydantic Docs", None),
                (
                    "https://github.com/pydantic/pydantic-ai/tree/refs/tags/v1.44.0",
                    "GitHub - pydantic/pydantic-ai at refs/tags/v1.44.0 · GitHub",
                    None,
                ),
            )
        ]
    ),
    "chat-openrouter-gemini-parallel-tools": Full(
        [steps(ours("add"), ours("multiply"))],
        calls=[("add", {"a": 2, "b": 3}), ("multiply", {"a": 2, "b": 3})],
        call_ids=["tool_add_kZJN6iFNozVOBiXBMA2Y", "tool_multiply_7Pq02EcannPbKks8kXlA"],
    ),
    "chat-openrouter-stream-error": Full(
        [thinking(thought("We need to respond to a greeting. The user"))], failure="stopped with an error"
    ),
    "chat-perplexity-crlf": Full(
        [
            said(
                "1 2 3",
                (
                    "https://www.youtube.com/watch?v=gJEC9-B37KI",
                    "Counting to 3 | Learn Numbers + More Counting Songs | 123 Numbers",
                    None,
                ),
                (
                    "https://numbergenerator.org/randomnumbergenerator/1-3",
                    "Random Number Between 1 And 3 - Number Generator",
                    None,
                ),
                (
                    "https://www.youtube.com/watch?v=NO2Q4o6ke6w",
                    "Numbers 1, 2 and 3 - Learn to Write and Count from 1 to 3 - YouTube",
                    None,
                ),
                (
                    "https://www.youtube.com/watch?v=iqYjVZZ19fw",
                    "Learn to Count to 3 for Kids | 123 - YouTube",
                    None,
                ),
                (
                    "https://www.youtube.com/watch?v=3ku3FueLlV8",
                    "Count 1 2 3 | Counting Song for Kids | Pancake Manor - YouTube",
                    None,
                ),
                (
                    "https://www.dailymotion.com/video/x8nxiid",
                    "Cookies Numbers Song 1 to 30, Learn Numbers - Dailymotion",
                    None,
                ),
                (
                    "https://heyspinner.com/random-number-wheel/1-3",
                    "Random Number Wheel 1-3 - HeySpinner",
                    None,
                ),
                (
                    "https://www.tinytap.com/activities/g3d4g/play/numbers-1-3",
                    "Numbers 1-3 | TinyTap",
                    None,
                ),
            )
        ]
    ),
    "chat-snowflake-no-finish-reason": Full([said("4")]),
    "chat-vllm-text-length": Full(
        [said(Begins("<|im_end|>doctor\n<|im_end|>supervisor\n<", 39))], notices=["length limit"]
    ),
    "chat-xai-parallel-tools": Full(
        [
            thinking(
                thought(Begins('The user asked to "Add and multiply the numbe', 134)),
                ours("add"),
                ours("multiply"),
            )
        ],
        calls=[("add", {"a": 2, "b": 3}), ("multiply", {"a": 2, "b": 3})],
        call_ids=["call_47876210", "call_97132951"],
    ),
    "responses-bedrock-data-before-event": Full(
        [thinking(ours("second_tool"))], calls=[("second_tool", {})], call_ids=["call_1"]
    ),
    "responses-chatgpt-backend-completed-no-output": Full(
        [steps(ours("get_weather"))],
        calls=[("get_weather", {"city": "Paris", "country": "France", "unit": "C"})],
        call_ids=["call_Y1aseRzSQSAMbKJIpnv6l73i"],
    ),
    "responses-copilot-rotating-item-ids": Full(
        [
            thinking(thought("**Counting character occurrences**")),
            said(Begins("There are **3** letter **“r”**s in **“strawbe", 138)),
        ]
    ),
    "responses-deepseek-reasoning-text-function-call": Full(
        [
            thinking(
                thought("The user asks about temperature in Tokyo. I'll call the tool."),
                ours("get_temperature"),
            )
        ],
        calls=[("get_temperature", {"city": "Tokyo"})],
        call_ids=["call_00_xjY8Z2BvSlzgEmmw0DtH0464"],
    ),
    "responses-openai-background-queued": Full([said("2 + 2 equals 4.")]),
    "responses-openai-code-interpreter-3-calls": Full(
        [
            thinking(
                thought(Begins("**Calculating a large integer**\n\nI need ", 440)),
                tool("Ran code", "```python\nn = pow(123456, 123)\nlen(str(n))\n```"),
                tool("Ran code", "```python\nstr(n)[:100], str(n)[-100:]\n```"),
                tool("Ran code", "```python\nn\n```"),
            ),
            said(Begins("123456^123 equals:\n18030210630404480750814092", 646)),
        ]
    ),
    "responses-openai-code-interpreter-image-file": Full(
        [
            # 614 of code, 35 of output, and 24 of fences and line ends.
            thinking(tool("Ran code", Begins("```python\nimport numpy as np\r\nimport matplotlib", 673))),
            image(Begins("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABJwAAAMMCA", 91750)),
            said(
                Begins("Here’s the chart of y = x^2 for x from -5 to ", 133),  # noqa: RUF001 (as recorded)
                (
                    "cfile_68dd937c234081919ee5238a16b4fd87.png",
                    "cfile_68dd937c234081919ee5238a16b4fd87.png",
                    0,
                ),
                ("y_eq_x_squared_plot.png", "y_eq_x_squared_plot.png", 132),
            ),
        ]
    ),
    "responses-openai-error-then-failed": Full(items=[], failure="no credit left"),
    "responses-openai-file-search-citation": Full(
        [
            steps(("file", "complete", "Searched files for “What is the capital of France?”", [])),
            said("The capital of France is Paris.", ("tmp8l5_2pzy.txt", "tmp8l5_2pzy.txt", 30)),
        ]
    ),
    "responses-openai-image-generation-partial": Full(
        [thinking(), image(Begins("data:image/webp;base64,UklGRuIWGQBXRUJQVlA4TKAwGAAv", 23 + 327))]
    ),
    "responses-openai-incomplete-max-tokens": Full(
        [said("In the bustling city of Detroit, a sleek, metallic blue sedan rolled off the")],
        notices=["length limit"],
    ),
    "responses-openai-mcp-approval-request": Full(
        [
            steps(
                tool("Tools of zip1"),
                tool(
                    "create_short_url (zip1) needs an approval",
                    '```json\n{"alias":"","description":"Shortened link for ai-sdk.dev","max_clicks":100,'
                    '"password":"","url":"https://ai-sdk.dev/"}\n```',
                    status="none",
                ),
            )
        ],
        notices=["create_short_url (zip1). That needs an approval"],
    ),
    "responses-openai-mcp-call": Full(
        [
            steps(
                tool("Tools of deepwiki"),
                # 99 of arguments, 2000 of an output of 4772, and 22 of fences and line ends.
                tool(
                    "ask_question (deepwiki)",
                    Begins('```json\n{"repoName":"pydantic/pydantic-ai","quest', 2121),
                ),
            ),
            said(Begins("pydantic-ai is a Python “agent” framework tha", 687)),
        ]
    ),
    "responses-openai-parallel-function-calls": Full(
        [steps(ours("add"), ours("multiply"))],
        calls=[("add", {"a": 2, "b": 3}), ("multiply", {"a": 2, "b": 3})],
        call_ids=["call_NnEvpiwdL8XrZ6F3T9VJyVw7", "call_TQ8336oa6YnuT2leYzRDBBLz"],
    ),
    "responses-openai-reasoning-message-function-call": Full(
        [
            thinking(),
            said("I’ll check the capital lookup tool for “PotatoLand.”"),  # noqa: RUF001 (as recorded)
            steps(ours("get_capital")),
        ],
        calls=[("get_capital", {"country": "PotatoLand"})],
        call_ids=["call_LabG58Uhrq9kZvR52BYKjToD"],
    ),
    "responses-openai-reasoning-summary-4-parts": Full(
        [
            thinking(
                thought(Begins("**Providing street crossing instructions", 460)),
                thought(Begins("**Explaining street crossing safety**\n\nI", 517)),
                thought(Begins("**Sharing street crossing safety tips**\n", 540)),
                thought(Begins("**Providing safe crossing advice**\n\nI’m ", 505)),  # noqa: RUF001 (as recorded)
            ),
            said(Begins("I'm not a road safety professional, but here ", 1251)),
        ]
    ),
    "responses-openai-text-unicode": Full(
        [said(Begins("Underneath a summer sky,  \nA boy in grass lay", 1062))]
    ),
    "responses-openai-tool-search-items": Full(
        [steps(tool("Looked for tools"), ours("get_exchange_rate"))],
        calls=[("get_exchange_rate", {"from_currency": "USD", "to_currency": "EUR"})],
        call_ids=["call_CeXueyTqEJ1rgm84BHSwNPz8"],
    ),
    "responses-openai-web-search-many": Full(
        [
            thinking(
                searched("OpenTelemetry FastAPI instrumentation capture request and response body"),
                searched("OTEL_INSTRUMENTATION_HTTP_CAPTURE_BODY Python"),
                searched("OTEL_INSTRUMENTATION_HTTP_CAPTURE_BODY opentelemetry python"),
                searched(
                    "site:github.com open-telemetry/opentelemetry-python-contrib "
                    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_BODY"
                ),
                searched(),
                searched(),
                searched("OTEL_PYTHON_LOG_CORRELATION environment variable"),
            ),
            said(
                Begins("Short answer:\n- Default FastAPI/OpenTelemetry", 3633),
                (
                    FASTAPI,
                    "OpenTelemetry FastAPI Instrumentation — OpenTelemetry Python Contrib  documentation",
                    946,
                ),
                (
                    FASTAPI,
                    "OpenTelemetry FastAPI Instrumentation — OpenTelemetry Python Contrib  documentation",
                    2582,
                ),
                (
                    FASTAPI,
                    "OpenTelemetry FastAPI Instrumentation — OpenTelemetry Python Contrib  documentation",
                    2896,
                ),
                (
                    LOGGING,
                    "OpenTelemetry Logging Instrumentation — OpenTelemetry Python Contrib documentation",
                    3518,
                ),
            ),
        ]
    ),
    "responses-openrouter-raw-reasoning": Full(
        [
            thinking(
                thought(
                    'The user asks: "What is 2+2?" They expect a straightforward answer: 4. Just answer 4.'
                )
            ),
            said("4"),
        ]
    ),
    "responses-xai-summary-function-call": Full(
        [
            thinking(
                thought('The user asked: "What\'s the weather in Berlin? (52.5200, 13.4050)"\n'),
                ours("weather"),
            )
        ],
        calls=[("weather", {"latitude": "52.5200", "longitude": "13.4050"})],
        call_ids=["call-5386e269-cd64-432e-aa64-5c80dd4e0286-0"],
    ),
}
