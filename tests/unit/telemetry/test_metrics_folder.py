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
    assert (mode, files) == (str(0o700), "2"), "what is measured, and the lock"
    assert after == "False False"


SERVICE = """
import os, sys, time
from bobbin_telemetry.metrics_folder import VARIABLE, metrics_folder
with metrics_folder(port="9464"):
    print(os.environ[VARIABLE], flush=True)
    if os.fork() == 0:  # a worker
        sys.stdin.readline()
        os._exit(0)
    time.sleep(60)
"""


def test_the_folder_of_a_service_that_was_killed_goes_with_the_next_start() -> None:
    """As soon as its last worker has ended, whatever number the process has that starts."""
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert service.stdin is not None
    assert service.stdout is not None
    folder = Path(service.stdout.readline().strip())
    try:
        start_another()
        assert folder.exists(), "it runs"
        service.kill()
        service.wait()
        start_another()
        assert folder.exists(), "its worker runs"
    finally:
        service.kill()
        service.communicate("\n")  # until the worker has closed its end
    start_another()
    assert not folder.exists()


def start_another() -> None:
    subprocess.run([sys.executable, "-c", INSIDE], capture_output=True, check=True)


@pytest.mark.parametrize("port", ["", " ", "0"])
def test_without_a_port_there_is_none(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with metrics_folder(port=port):
        assert VARIABLE not in os.environ


def test_one_that_comes_too_late_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before its folder"), metrics_folder(port="9464"):
        pass
