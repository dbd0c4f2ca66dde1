"""Where the worker processes of a service keep their metrics, so that one scrape tells of all of them.

prometheus_client looks for the folder once, when it is imported. So this module does not import it, and the
block begins before anything does that measures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MEMORY = Path("/dev/shm")  # noqa: S108 (only as the parent of a new folder of our own)
"""The files are written by memory mapping, and on a disk that can wait for the disk. It is there and writable
in containers, too, also where everything else is read-only."""


@contextmanager
def metrics_folder(*, port: str) -> Generator[None]:
    """Within the block this process and its workers keep their metrics in a new folder.

    Args:
        port: Where they are to be told, as the environment has it: if nowhere, there is no folder.

    Raises:
        RuntimeError: It is too late.
    """
    os.environ.pop(VARIABLE, None)
    if port.strip() in {"", "0"}:
        yield
        return
    if "prometheus_client" in sys.modules:
        raise RuntimeError("prometheus_client has been imported before its folder was made")
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="bobbin-metrics-", dir=parent, ignore_cleanup_errors=True) as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]
