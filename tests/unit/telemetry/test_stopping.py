"""A process that is told to stop while it starts cleans up."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import os, signal, time
from bobbin_telemetry.stopping import leave_when_told
leave_when_told()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
finally:
    print("cleaned up")
"""


def test_blocks_are_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "cleaned up\n")
