"""The embedded PostgreSQL: its data survives whatever happens to the processes around it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.errors import CannotStart
from tests.conftest import ROOT
from tests.postgres import NOT_DURABLE, readable_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with readable_folder() as path:
        yield path


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder, NOT_DURABLE)
    server.start()
    yield server
    server.stop()


def spawn(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def ask(server: EmbeddedServer, statement: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def first_process(server: EmbeddedServer) -> int:
    return int((server._data / "postmaster.pid").read_text().splitlines()[0])


async def test_data_survives_a_stop_and_a_start(folder: Path) -> None:
    for expected in [1, 2]:
        server = EmbeddedServer(folder, NOT_DURABLE)
        server.start()
        await ask(server, "CREATE TABLE IF NOT EXISTS t (n serial)")
        assert await ask(server, "INSERT INTO t DEFAULT VALUES RETURNING n") == expected
        server.stop()
        assert not server.is_running()


async def test_what_was_committed_survives_kill_9_of_the_server(folder: Path) -> None:
    server = EmbeddedServer(folder)  # durable: this is about a crash
    server.start()
    await ask(server, "CREATE TABLE t AS SELECT 42 AS n")
    os.kill(first_process(server), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while server.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # noqa: ASYNC251 (nothing else runs here)
    assert server.restart_if_gone()
    assert not server.restart_if_gone()
    assert await ask(server, "SELECT n FROM t") == 42
    server.stop()


async def test_a_pid_file_that_names_a_foreign_process_does_not_stand_in_the_way(folder: Path) -> None:
    """After a reboot another process may have the number; PostgreSQL alone would refuse to start."""
    server = EmbeddedServer(folder, NOT_DURABLE)
    server.start()
    lines = (server._data / "postmaster.pid").read_text().splitlines()
    server.stop()
    stranger = spawn("import time; time.sleep(60)")
    try:
        pid_file = server._data / "postmaster.pid"
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert not server.is_running()
        server.start()
        assert await ask(server, "SELECT 1") == 1
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


async def test_a_killed_initdb_is_begun_again(folder: Path) -> None:
    half = folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(folder, NOT_DURABLE)
    server.start()
    assert await ask(server, "SELECT 1") == 1
    server.stop()


async def test_two_stores_on_one_folder_share_a_server_until_the_last_leaves(server: EmbeddedServer) -> None:
    folder = server._home.parent
    second = EmbeddedServer(folder, NOT_DURABLE)
    second.start()
    assert second.dsn == server.dsn
    server.stop()
    assert await ask(second, "SELECT 1") == 1
    second.stop()
    assert not second.is_running()


async def test_servers_on_different_folders_have_nothing_to_do_with_each_other(
    server: EmbeddedServer,
) -> None:
    with readable_folder() as other_folder:
        other = EmbeddedServer(other_folder, NOT_DURABLE)
        other.start()
        await ask(other, "CREATE TABLE t ()")
        assert await ask(server, "SELECT to_regclass('t')::text") is None
        other.stop()
        assert await ask(server, "SELECT 1") == 1


async def test_a_store_killed_with_9_leaves_a_server_that_the_next_one_takes_over(folder: Path) -> None:
    program = (
        "import sys, time, pathlib; from bobbin_store.embedded.server import EmbeddedServer;"
        "s = EmbeddedServer(pathlib.Path(sys.argv[1]), {'fsync': 'off'}); s.start(); print('up', flush=True);"
        "time.sleep(60)"
    )
    process = spawn(program, str(folder))
    assert process.stdout is not None
    assert any(line.strip() == "up" for line in process.stdout)
    process.kill()
    process.communicate()
    server = EmbeddedServer(folder, NOT_DURABLE)
    assert server.is_running()
    server.start()
    assert await ask(server, "SELECT 1") == 1
    server.stop()
    assert not server.is_running()


def test_starts_at_the_same_time_make_one_server(folder: Path) -> None:
    program = (
        "import sys, pathlib; from bobbin_store.embedded.server import EmbeddedServer;"
        "s = EmbeddedServer(pathlib.Path(sys.argv[1]), {'fsync': 'off'}); s.start();"
        "print((s._data / 'postmaster.pid').read_text().split()[0]); sys.stdin.read(); s.stop()"
    )
    processes = [spawn(program, str(folder)) for _ in range(3)]
    pids = set()
    for process in processes:
        assert process.stdout is not None
        pids.add(next(line for line in process.stdout if line.strip().isdigit()))
    assert len(pids) == 1
    for process in processes:
        process.communicate("")
        assert process.returncode == 0


async def test_a_folder_with_a_long_and_odd_name_works(folder: Path) -> None:
    """A Unix socket's path may not be longer than 107 bytes."""
    deep = folder / ("x" * 100) / "it's a, folder"
    server = EmbeddedServer(deep, NOT_DURABLE)
    server.start()
    assert await ask(server, "SELECT 1") == 1
    server.stop()
    server._sockets.rmdir()


def test_a_folder_that_the_server_cannot_write_to_is_a_clear_error(folder: Path) -> None:
    (folder / "postgres").write_text("in the way")
    with pytest.raises(CannotStart, match="cannot use the data folder"):
        EmbeddedServer(folder, NOT_DURABLE)


async def test_only_our_own_user_may_connect(server: EmbeddedServer) -> None:
    assert (server._sockets.stat().st_mode & 0o777) == 0o700
    rules = (server._data / "pg_hba.conf").read_text()
    assert rules == "local all all peer map=bobbin\n"
    assert await ask(server, "SHOW listen_addresses") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its server to another user")
async def test_root_leaves_its_private_folders_private() -> None:
    """Neither the data folder's parents nor the installation are opened for the server's user."""
    private = Path("/root") / f".bobbin-test-{os.getpid()}"
    private.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in [private, Path("/root")]}
    try:
        server = EmbeddedServer(private / "data", NOT_DURABLE)
        server.start()
        assert await ask(server, "SELECT 1") == 1
        server.stop()
        assert {path: path.stat().st_mode for path in modes} == modes
        again = EmbeddedServer(private / "data", NOT_DURABLE)
        assert again._home == server._home
        assert not server._home.is_relative_to("/root")
        shutil.rmtree(server._home)
    finally:
        shutil.rmtree(private)
