"""Where the worker processes of a service keep their metrics, so that one scrape tells of all of them.

prometheus_client looks for the folder once, when it is imported. So this module does not import it, and the
block begins before anything does that measures.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MEMORY = Path("/dev/shm")  # noqa: S108 (only as the parent of a new folder of our own)
"""The files are written by memory mapping, and on a disk that can wait for the disk. It is there and writable
in containers, too, also where everything else is read-only."""
_PREFIX = "bobbin-metrics-"
_LOCK = "lock"
"""Locked as long as the service or a worker of it lives. The number of a process would tell less: containers
that share this memory have the same ones, and a new start has that of the one before."""


@contextmanager
def metrics_folder(*, port: str) -> Generator[None]:
    """Within the block this process and its workers keep their metrics in a new folder.

    Folders of services that were killed go first.

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
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(gettempdir())
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is in use, or another start removes it, too
            _remove_if_left_behind(folder)
    with TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        lock = _lock(Path(name))
        os.environ[VARIABLE] = name
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            os.close(lock)


def _lock(folder: Path) -> int:
    """Mark the folder as in use, by a file descriptor that goes with the last process that has it."""
    unlocked = folder / f"{_LOCK}.new"
    descriptor = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unlocked.rename(folder / _LOCK)  # nobody sees it without its lock
    return descriptor


def _remove_if_left_behind(folder: Path) -> None:
    """Remove a folder of this user's whose lock nobody holds any more.

    Raises:
        OSError: It is not to be removed, or cannot be.
    """
    if folder.lstat().st_uid != os.getuid():
        return
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
