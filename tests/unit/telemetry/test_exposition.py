"""What is told of workers that have died, however many ask and whoever has their number by now."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bobbin_telemetry import exposition


@pytest.fixture
def workers(tmp_path: Path) -> exposition._Workers:
    return exposition._Workers(str(tmp_path))


def gauge_of(pid: int, folder: Path) -> Path:
    file = folder / f"gauge_livesum_{pid}.db"
    file.write_bytes(b"")
    return file


def test_a_number_that_another_user_s_process_has_by_now_is_no_worker(
    workers: exposition._Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    file = gauge_of(4711, tmp_path)
    assert list(workers.collect()) == []
    assert not file.exists()


def test_two_scrapes_at_once_forget_a_worker_once(
    workers: exposition._Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = exposition.mark_process_dead

    def slowly(pid: int, folder: str) -> None:
        assert list(tmp_path.glob(f"*_{pid}.db")), "someone else has forgotten it"
        time.sleep(0.05)
        forget(pid, folder)

    monkeypatch.setattr(exposition, "mark_process_dead", slowly)
    monkeypatch.setattr(exposition, "_is_alive", lambda _pid: False)
    for pid in range(5):
        gauge_of(pid, tmp_path)

    def scrape(_: int) -> Any:
        return list(workers.collect())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(scrape, range(4))) == [[]] * 4
    assert list(tmp_path.iterdir()) == []
