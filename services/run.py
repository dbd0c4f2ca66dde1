"""Runs everything on one machine: ``make run``.

Starts the store (with its embedded PostgreSQL unless DATABASE_URL is set), the demo model when there is no
other, and the gateway; prints the gateway's URL when it is ready; stops all of them when one ends or on
Ctrl-C.

``EXAMPLE=name`` runs the agent of a folder of ``gateway/examples``: ``assistant`` in its module ``agent``.
With ``EXAMPLE_MCP=1`` its tools come from an MCP server, its module ``mcp_server``, as ``mcp.json`` says.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

from msgspec import Meta, Struct

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_protocol.settings import BrokenSettings, read_settings
from bobbin_store.settings import Settings as StoreSettings

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
EXAMPLES = Path(__file__).resolve().parent / "gateway" / "examples"


class ExampleSettings(Struct, frozen=True, kw_only=True):
    """Which example to run, if any."""

    example: Annotated[str, Meta(description="A folder of gateway/examples")] = ""
    example_mcp: Annotated[bool, Meta(description="Whether its tools are those of its MCP server")] = False


class NotStarted(Exception):
    """A process ended, or did not get ready in time; the text says which."""


def main() -> int:
    """Run until a signal or until one of the processes ends."""
    _on_signals(_interrupt)
    environ = _environment()
    try:
        example = read_settings(ExampleSettings, environ)
        _use_example(example, environ)
        read_settings(StoreSettings, environ)
        gateway = read_settings(GatewaySettings, environ)
    except BrokenSettings as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        if not gateway.files_secret:
            environ["FILES_SECRET"] = _kept_secret(Path(environ.get("DATA_DIR", ".data")))
        _start(processes, "store", "bobbin_store", environ)
        if not gateway.openai_api_key and not gateway.openai_base_url:
            _start_demo_model(processes, environ)
        if example.example_mcp:
            _start_mcp_server(processes, example.example, environ)
        _await_ready(processes, f"{environ['STORE_URL']}/health/ready")
        _start(processes, "gateway", "bobbin_gateway", environ)
        url = f"http://{_reachable(environ['GATEWAY_HOST'])}:{environ['GATEWAY_PORT']}"
        _await_ready(processes, f"{url}/health/ready")
        print(f"\nBobbin is ready: {url}\n", flush=True)
        return _watch(processes)
    except NotStarted as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(processes)


def _environment() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if value}
    environ.setdefault("GATEWAY_HOST", "127.0.0.1")
    environ.setdefault("GATEWAY_PORT", "8000")
    environ.setdefault("STORE_HOST", "127.0.0.1")
    environ.setdefault("STORE_PORT", "8001")
    environ.setdefault("STORE_URL", f"http://{_reachable(environ['STORE_HOST'])}:{environ['STORE_PORT']}")
    if "STORE_TOKEN_FILE" not in environ:
        environ.setdefault("STORE_TOKEN", secrets.token_urlsafe(32))
    return environ


def _kept_secret(data_dir: Path) -> str:
    """A secret that outlives a restart, since URLs in stored conversations are signed with it."""
    file = data_dir / "files-secret"
    if not file.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(32))
        new.rename(file)
    return file.read_text()


def _use_example(settings: ExampleSettings, environ: dict[str, str]) -> None:
    """Set what the gateway must know of an example.

    Raises:
        BrokenSettings: There is no such example, or it cannot be run like that.
    """
    name = settings.example
    if not name:
        if settings.example_mcp:
            raise BrokenSettings("EXAMPLE_MCP=1 needs an EXAMPLE")
        return
    known = sorted(agent.parent.name for agent in EXAMPLES.glob("*/agent.py"))
    if name not in known:
        raise BrokenSettings(f"EXAMPLE={name}: there is none; known are: {', '.join(known)}")
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(EXAMPLES), environ.get("PYTHONPATH")]))
    environ["GATEWAY_AGENT"] = f"{name}.agent:assistant"
    if not settings.example_mcp:
        return
    if find_spec("mcp") is None:
        raise BrokenSettings("EXAMPLE_MCP=1 needs the package mcp: install bobbin-gateway[mcp]")
    if not (EXAMPLES / name / "mcp_server.py").is_file():
        raise BrokenSettings(f"EXAMPLE_MCP=1: the example {name} has no MCP server")
    if "MCP_CONFIG" in environ:
        raise BrokenSettings("EXAMPLE_MCP=1 sets MCP_CONFIG: leave one of them out")
    environ["MCP_CONFIG"] = str(EXAMPLES / name / "mcp.json")
    environ["EXAMPLE_MCP_PORT"] = str(_free_port())
    environ["EXAMPLE_MCP_TOKEN"] = secrets.token_urlsafe(32)


def _reachable(host: str) -> str:
    """An address to call a server at that listens on all."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _start(
    processes: dict[str, subprocess.Popen[bytes]],
    name: str,
    module: str,
    environ: dict[str, str],
    *arguments: str,
) -> None:
    command = [sys.executable, "-m", module, *arguments]
    # A session of its own: Ctrl-C reaches this process only, which then stops the others in order.
    processes[name] = subprocess.Popen(command, env=environ, start_new_session=True)  # noqa: S603 (our own modules)


def _start_demo_model(processes: dict[str, subprocess.Popen[bytes]], environ: dict[str, str]) -> None:
    port = _free_port()
    _start(processes, "demo model", "bobbin_gateway.demo_model", environ, "--port", str(port))
    environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
    environ["OPENAI_API_KEY"] = "demo"
    environ.setdefault("MODEL", "demo")
    _await_ready(processes, f"http://127.0.0.1:{port}/v1/models")
    print("No OPENAI_API_KEY: answers come from the demo model.", flush=True)


def _start_mcp_server(
    processes: dict[str, subprocess.Popen[bytes]], example: str, environ: dict[str, str]
) -> None:
    _start(processes, "MCP server", f"{example}.mcp_server", environ)
    _await_ready(processes, f"http://127.0.0.1:{environ['EXAMPLE_MCP_PORT']}/health/ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_ready(processes: dict[str, subprocess.Popen[bytes]], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        for name, process in processes.items():
            if process.poll() is not None:
                raise NotStarted(f"the {name} did not start (its message stands above)")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 (our own http URL)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise NotStarted(f"nothing ready at {url} after {START_TIMEOUT_S:.0f} s")


def _watch(processes: dict[str, subprocess.Popen[bytes]]) -> int:
    while True:
        for name, process in processes.items():
            if (status := process.poll()) is not None:
                print(f"make run: the {name} ended with status {status}", file=sys.stderr)
                return 1
        time.sleep(0.2)


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Stop the gateway first: it still has answers to store."""
    _on_signals(signal.SIG_IGN)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in reversed(processes.values()):
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _stop_orphans(process.pid)


def _stop_orphans(group: int) -> None:
    """Workers outlive a server that was killed; they are in its process group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)


def _on_signals(action: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    """SIGHUP: the terminal was closed; SIGINT: also where a shell has its background jobs ignore it."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, action)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    _on_signals(signal.SIG_IGN)  # once is enough: a second one must not end what stops the processes
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
