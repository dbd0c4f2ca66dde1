"""Problems: every error of ours has one, and a bug tells the caller nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bobbin_protocol.problem import ProblemCode
from bobbin_store import errors, threads
from bobbin_store.errors import CannotStart, StoreError
from bobbin_store.problems import BY_STATUS, INTERNAL, KINDS
from tests.unit.store.conftest import Store, running_app


def test_every_error_for_callers_has_its_problem() -> None:
    for_callers = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, StoreError) and kind not in {StoreError, CannotStart}
    }
    assert set(KINDS) == for_callers


def test_every_problem_has_a_code_of_the_contract_and_the_status_it_is_sent_with() -> None:
    codes = set(ProblemCode.__args__)  # type: ignore[attr-defined] (a Literal has them)
    for kind in [*KINDS.values(), *BY_STATUS.values(), INTERNAL]:
        assert kind.code in codes
    assert all(kind.status == status for status, kind in BY_STATUS.items())


async def test_a_bug_is_told_to_the_log_and_not_to_the_caller(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(threads, "create", broken)
    async with running_app(database_url) as http:
        store = Store(http, "alice", "json")
        answer = await store.call("POST", "/threads", {})
    assert (answer.status, answer.body["code"]) == (500, "internal")
    assert "secret" not in str(answer.body)
    logged = capsys.readouterr()
    assert "a secret of the house" in logged.out + logged.err


async def test_a_database_that_is_away_is_a_503_worth_another_try() -> None:
    async with running_app("postgresql://postgres@127.0.0.1:1/x", store_pool_wait_s=1.0) as http:
        store = Store(http, "alice", "json")
        for method, path, body in [
            ("GET", "/threads", None),
            ("POST", "/threads", {}),
            ("GET", "/owner/export", None),
            ("DELETE", "/owner", None),
        ]:
            answer = await store.call(method, path, body)
            assert (answer.status, answer.body["code"]) == (503, "unavailable"), (method, path)
            assert int(answer.headers["retry-after"]) >= 1
        response: httpx.Response = await http.get("/health/ready")
        assert response.status_code == 503
        assert (await http.get("/health/live")).status_code == 200
