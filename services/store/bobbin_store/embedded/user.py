"""Whom the embedded server runs as: us, or someone else if we are root, which PostgreSQL refuses."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from pathlib import Path

from bobbin_store.errors import CannotStart

NAMES = ("postgres", "nobody")
"""Whom to take when we are root: the first that exists."""


class ServerUser:
    """The server's user, what it may reach and what is run as it."""

    def __init__(self) -> None:
        self.uid = os.geteuid()
        self.gid = os.getegid()
        self.is_other = self.uid == 0
        if self.is_other:
            entry = next((found for name in NAMES if (found := _passwd(name))), None)
            if entry is None:
                raise CannotStart(
                    f"PostgreSQL does not run as root, and there is no user {' or '.join(NAMES)}"
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
        """Make the folder if need be, for this user alone.

        Raises:
            CannotStart: It is there and a third party's.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {self.uid, os.geteuid()}:
            raise CannotStart(f"{folder} is a link or belongs to someone else")
        if self.is_other:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)
        return folder

    def write(self, file: Path, text: str) -> None:
        """Write a file for this user alone."""
        file.write_text(text)
        file.chmod(0o600)
        if self.is_other:
            os.chown(file, self.uid, self.gid)

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
            said = output.read().decode(errors="replace").strip().splitlines()
        if done.returncode:
            raise CannotStart(f"{Path(command[0]).name} failed: {said[-1] if said else done.returncode}")


def _passwd(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
