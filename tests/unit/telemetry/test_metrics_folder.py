"""The folder of the metrics: there as long as the service runs, and in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import prometheus_client  # noqa: F401 (it is loaded before)
import pytest

from bobbin_telemetry.metrics_folder import VARIABLE, metrics_folder

INSIDE = """
import os, sys
from bobbin_telemetry.metrics_folder import VARIABLE, metrics_folder
with metrics_folder(port="9464"):
    from prometheus_client import Counter
    folder = os.environ[VARIABLE]
    Counter("c", "c").inc()
    print(folder, os.stat(folder).st_mode & 0o777, len(os.listdir(folder)))
print(os.path.exists(folder), VARIABLE in os.environ)
"""


def test_what_is_measured_inside_is_kept_there_and_gone_afterwards() -> None:
    run = subprocess.run([sys.executable, "-c", INSIDE], capture_output=True, text=True, check=True)
    inside, after = run.stdout.splitlines()
    folder, mode, files = inside.rsplit(" ", 2)
    assert Path(folder).name.startswith("bobbin-metrics-")
    assert (mode, files) == (str(0o700), "1")
    assert after == "False False"


@pytest.mark.parametrize("port", ["", " ", "0"])
def test_without_a_port_there_is_none(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with metrics_folder(port=port):
        assert VARIABLE not in os.environ


def test_one_that_comes_too_late_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before its folder"), metrics_folder(port="9464"):
        pass
