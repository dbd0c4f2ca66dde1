"""Where the embedded server's parts lie."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bobbin_store.embedded import installation
from bobbin_store.embedded.user import ServerUser
from bobbin_store.errors import CannotStart
from tests.postgres import readable_folder


def test_the_wheel_brings_binaries_that_run() -> None:
    found = installation.binaries(ServerUser())
    done = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True)
    assert "PostgreSQL" in done.stdout


def test_without_the_wheel_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(CannotStart, match="DATABASE_URL"):
        installation.binaries(ServerUser())


def test_a_copy_of_the_binaries_runs_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a server user who cannot reach the installation, as in a virtual environment under /root."""
    with readable_folder() as folder:
        monkeypatch.setattr(installation, "FALLBACK_FOLDER", folder)
        monkeypatch.setattr(ServerUser, "reaches", lambda _self, _path: False)
        user = ServerUser()
        copied = installation.binaries(user)
        assert copied.is_relative_to(folder)
        user.run([str(copied / "initdb"), "--version"])
        assert installation.binaries(user) == copied
        assert len(list(folder.iterdir())) == 1


def test_the_socket_lies_with_the_data_unless_its_path_would_be_too_long() -> None:
    assert installation.socket_folder(Path("/data/postgres")) == Path("/data/postgres")
    for home in [Path("/" + "x" * 100), Path("/it's"), Path("/a,b"), Path("/a b")]:
        chosen = installation.socket_folder(home)
        assert chosen != home
        assert len(os.fsencode(chosen / installation.SOCKET_NAME)) <= installation.SOCKET_PATH_MAX
        assert chosen == installation.socket_folder(home)
