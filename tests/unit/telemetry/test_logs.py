"""Logs: whatever is said by whatever means is one line of JSON, without what must not be known."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

HEAD = """
import logging, os, structlog
from bobbin_telemetry.logs import configure_logs, log_start
log = structlog.get_logger()
"""


def said(program: str) -> str:
    """What a process writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == ""
    return done.stderr


def lines(program: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(program).splitlines()]


def test_ours_and_those_of_libraries_have_one_form() -> None:
    ours, theirs = lines("""
configure_logs("bobbin-test", "json")
log.info("settled", turn_id="trn_1")
logging.getLogger("aiohttp.client").warning("broken %s", "pipe")
""")
    assert ours.pop("timestamp") < theirs.pop("timestamp")
    assert ours.pop("pid") == theirs.pop("pid")
    assert ours == {"event": "settled", "turn_id": "trn_1", "level": "info", "service": "bobbin-test"}
    assert theirs == {
        "event": "broken pipe",
        "logger": "aiohttp.client",
        "level": "warning",
        "service": "bobbin-test",
    }


def test_libraries_are_heard_from_warnings_on() -> None:
    """What openai and its like say below that repeats what users write."""
    (only,) = lines("""
configure_logs("bobbin-test", "json", "debug")
logging.getLogger("openai._base_client").debug("Request options: Hello")
log.debug("heard")
""")
    assert only["event"] == "heard"


def test_what_is_less_than_the_level_is_not_logged() -> None:
    events = lines("""
configure_logs("bobbin-test", "json", "error")
log.warning("no")
logging.warning("no")
log.error("yes")
logging.error("yes")
""")
    assert [event["event"] for event in events] == ["yes", "yes"]


@pytest.mark.parametrize("logged", ["log.exception('failed')", "logging.exception('failed')"])
def test_an_exception_is_data_without_local_variables(logged: str) -> None:
    (line,) = lines(f"""
configure_logs("bobbin-test", "json")
def work(token):
    raise ValueError("bad row\\nDETAIL: Failing row contains (what a user wrote)")
try:
    try:
        work("hunter2")
    except ValueError as error:
        raise ExceptionGroup("many", [error]) from error
except ExceptionGroup:
    {logged}
""")
    (group,) = line["exception"]
    ((error,),) = group["exceptions"]
    assert (group["exc_type"], group["exc_value"]) == ("ExceptionGroup", "many (1 sub-exception)")
    assert (error["exc_type"], error["exc_value"]) == ("ValueError", "bad row")
    assert error["frames"][-1]["name"] == "work"
    assert "hunter2" not in str(line)
    assert "what a user wrote" not in str(line)


def test_a_process_that_was_forked_says_its_own_id() -> None:
    parent, child = lines("""
configure_logs("bobbin-test", "json")
log.info("parent")
if os.fork() == 0:
    log.info("child")
    os._exit(0)
os.wait()
""")
    assert (parent["event"], child["event"]) == ("parent", "child")
    assert parent["pid"] != child["pid"]


def test_a_person_gets_lines_to_read() -> None:
    text = said("""
configure_logs("bobbin-test", "console")
log.info("settled", turn_id="trn_1")
logging.warning("broken")
""")
    first, second = text.splitlines()
    assert "settled" in first
    assert "turn_id=trn_1" in first
    assert "broken" in second
    assert "\x1b" not in text, "colours are for terminals"


@pytest.mark.parametrize("logged", ["log.exception('failed')", "logging.exception('failed')"])
def test_nor_does_a_person_get_local_variables(logged: str) -> None:
    text = said(f"""
configure_logs("bobbin-test", "console")
def work(token):
    raise ValueError("bad row")
try:
    work("hunter" + str(2))
except ValueError:
    {logged}
""")
    assert "ValueError: bad row" in text
    assert "hunter2" not in text


def test_a_start_says_its_settings_and_what_is_mistyped() -> None:
    first, second = lines("""
configure_logs("bobbin-test", "json")
log_start({"STORE_PORT": 8001}, {"STORE_PROT": "STORE_PORT"})
""")
    assert (first["event"], first["settings"]) == ("settings", {"STORE_PORT": 8001})
    assert (second["level"], second["name"], second["meant"]) == ("warning", "STORE_PROT", "STORE_PORT")
