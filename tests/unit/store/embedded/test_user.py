"""Whom the embedded server runs as."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bobbin_store.embedded import user as user_module
from bobbin_store.embedded.user import ServerUser
from bobbin_store.errors import CannotStart
from tests.postgres import readable_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its server as another user")


@needs_root
def test_root_runs_its_server_as_someone_else() -> None:
    user = ServerUser()
    assert user.uid != 0
    with readable_folder() as folder:
        told = folder / "uid"
        folder.chmod(0o777)
        user.run(["/bin/sh", "-c", f"id -u > {told}"])
        assert int(told.read_text()) == user.uid


@needs_root
def test_without_a_user_to_run_as_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_module, "NAMES", ("no-such-user",))
    with pytest.raises(CannotStart, match="no-such-user"):
        ServerUser()


@needs_root
def test_a_folder_below_a_private_one_is_out_of_reach() -> None:
    user = ServerUser()
    with readable_folder() as folder:
        (folder / "private").mkdir(mode=0o700)
        assert user.reaches(folder / "x")
        assert not user.reaches(folder / "private" / "x")


def test_its_own_folder_is_for_it_alone() -> None:
    user = ServerUser()
    with readable_folder() as folder:
        own = user.own(folder / "own")
        assert (own.stat().st_uid, stat.S_IMODE(own.stat().st_mode)) == (user.uid, 0o700)
        assert user.own(own) == own


def test_a_link_in_the_place_of_its_folder_is_refused() -> None:
    with readable_folder() as folder:
        (folder / "elsewhere").mkdir()
        (folder / "own").symlink_to(folder / "elsewhere")
        with pytest.raises(CannotStart):
            ServerUser().own(folder / "own")


def test_a_failed_command_says_its_last_line() -> None:
    with pytest.raises(CannotStart, match="sh failed: the reason"):
        ServerUser().run(["/bin/sh", "-c", "echo first; echo the reason >&2; exit 3"])


def test_a_written_file_is_for_it_alone() -> None:
    user = ServerUser()
    with readable_folder() as folder:
        file = Path(folder / "file")
        user.write(file, "text")
        assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (user.uid, 0o600)
