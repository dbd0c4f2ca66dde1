"""What a model does besides speaking: one workflow, closed when it should be."""

from __future__ import annotations

from msgspec.structs import replace

from bobbin_gateway.openai_agent.work import Work
from bobbin_protocol.items import WorkflowItem
from bobbin_protocol.tasks import CustomTask
from tests.unit.gateway.openai_agent.samples import Heard, turn

SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "cats"}}


def work_and_ears() -> tuple[Work, Heard]:
    return Work(turn(), lambda name: None if name == "hidden" else f"Tool {name}"), Heard()


def flows(heard: Heard) -> list[tuple[str, list[str | None]]]:
    return [
        (item.workflow.type, [getattr(task, "title", None) or "thought" for task in item.workflow.tasks])
        for item in heard.items
        if isinstance(item, WorkflowItem)
    ]


def test_thoughts_tools_of_the_provider_and_our_own_stand_in_one_workflow() -> None:
    work, heard = work_and_ears()
    heard.events += work.think(0) + work.think(0, "a", "Hmm") + work.show_hosted(1, SEARCH, done=False)
    heard.events += work.show_hosted(1, SEARCH, done=True) + work.call(2, call_id="c", name="add")
    assert flows(heard) == [("reasoning", ["thought", "Searched the web", "Tool add"])]


def test_without_thoughts_the_workflow_is_a_plain_one() -> None:
    work, heard = work_and_ears()
    heard.events += work.show_hosted(0, SEARCH, done=False)
    assert flows(heard) == [("custom", ["Searching the web"])]


def test_a_call_is_shown_when_its_name_is_known_unless_it_is_not_to_be_shown() -> None:
    work, heard = work_and_ears()
    assert work.call(0, call_id="c", arguments="{") == []
    heard.events += work.call(0, name="ad")
    heard.events += work.call(0, name="d")
    heard.events += work.call(1, call_id="d", name="hidden")
    assert flows(heard) == [("custom", ["Tool add"])]
    assert [call.name for call in work.calls.made()] == ["add", "hidden"]


def test_the_whole_of_a_call_takes_the_place_of_its_pieces() -> None:
    work, heard = work_and_ears()
    heard.events += work.call(0, call_id="c", name="add", arguments='{"a"')
    assert work.settle_call(0, call_id="c", name="add", arguments='{"a":1}') == []
    assert work.settle_call(0, arguments="") == []
    assert [call.arguments for call in work.calls.made()] == ['{"a":1}']


def test_a_workflow_stays_open_while_tools_of_ours_run() -> None:
    work, heard = work_and_ears()
    heard.events += work.call(0, call_id="c", name="add") + work.think(1, "a", "x" * 20)
    heard.events += work.think(1, "a", "y")
    heard.events += work.fold()
    assert work.steps.is_open
    assert heard.kinds[-1] == "workflow.task.updated"
    task = work.steps.task("c")
    assert isinstance(task, CustomTask)
    work.steps.put("c", replace(task, status_indicator="complete"))
    assert [event.__struct_config__.tag for event in work.fold()] == ["thread.item.done"]


def test_code_that_the_end_leaves_out_is_what_was_heard() -> None:
    work, heard = work_and_ears()
    item = {"type": "code_interpreter_call"}
    heard.events += (
        work.show_hosted(0, item, done=False) + work.write_code(0, "print(") + work.write_code(0, "1)")
    )
    heard.events += work.run_code(0, "print(1)")
    assert flows(heard) == [("custom", ["Running code"])]
    heard.events += work.show_hosted(0, item, done=True)
    task = work.steps.task("0.0.")
    assert isinstance(task, CustomTask)
    assert (task.title, task.content) == ("Ran code", "```python\nprint(1)\n```")


def test_steps_of_a_later_round_are_new_ones_in_the_same_workflow() -> None:
    work, heard = work_and_ears()
    heard.events += work.think(0, "a", "One") + work.call(1, call_id="c", name="add")
    work.next_round()
    assert work.calls.made() == []
    heard.events += work.think(0, "a", "Two") + work.call(1, call_id="c", name="add")
    assert flows(heard) == [("reasoning", ["thought", "Tool add", "thought", "Tool add"])]


def test_work_goes_on_elsewhere() -> None:
    work, heard = work_and_ears()
    heard.events += work.think(0, "a", "x" * 100) + work.think(0, "a", "y") + work.write_code(1, "z" * 50)
    heard.events += work.write_code(1, "z") + work.call(2, call_id="c", name="add", arguments="{")
    moved = Work.restored(turn(), lambda name: f"Tool {name}", work.state(), heard.items)
    assert moved.state() == work.state()

    def rest(one: Work) -> list[object]:
        events = one.think(0, "a", "w") + one.call(2, arguments="}") + one.call(3, call_id="c", name="b")
        whole = Heard()
        whole.events = heard.events + events + one.close()
        [item] = whole.items
        assert isinstance(item, WorkflowItem)
        return [item.workflow.tasks, [call.arguments for call in one.calls.made()]]

    assert rest(moved) == rest(work)
