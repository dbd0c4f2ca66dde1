"""nginx, Caddy and HAProxy as real processes, with the files that users get.

The gateways listen on one port of several addresses of this machine, as containers do; a real DNS server
knows which of them are there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import ROOT, require_or_skip
from tests.processes import Service, free_port

NAMES = ("caddy", "nginx", "haproxy")
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
"""Where gateways may be."""
STREAM_SILENCE_S = 5
"""How long the proxies under test wait for a word from a gateway: its keep-alives are to come more often."""
_FILES = ROOT / "deploy" / "proxies"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Where Debian has servers; users other than root do not look there."""


def require_proxies() -> None:
    """Go on only where all of them can be run."""
    require_or_skip(there=sys.platform == "linux", what="only Linux has more loopback addresses than one")
    for program in (*NAMES, "dnsmasq"):
        require_or_skip(there=shutil.which(program, path=_PATH) is not None, what=f"no {program} here")


class Proxy(Service):
    """A proxy before the gateways. With a certificate clients speak HTTP/2 to it, as browsers do."""

    def __init__(self, name: str, port: int, *command: str, ca: Path | None, **environ: str) -> None:
        super().__init__(name, port, command=command, **environ)
        self.name = name
        self.ca = ca
        self.url = f"{'https' if ca else 'http'}://localhost:{port}"

    @property
    def speaks_http2(self) -> bool:
        return self.ca is not None

    def client(self) -> httpx.AsyncClient:
        """A client of this proxy."""
        limits = httpx.Limits(max_connections=1) if self.speaks_http2 else httpx.Limits()
        return httpx.AsyncClient(
            base_url=self.url, timeout=30, limits=limits, verify=self._context(), http2=self.speaks_http2
        )

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=1, context=self._context()):
                return True
        except (urllib.error.URLError, OSError):
            return False


_HUNG_UP = re.compile(r'"reading from backend".*use of closed network connection')


def answers_cut(caddy_log: str) -> int:
    """How many answers Caddy has cut, by its own account.

    Caddy 2.6 does so rarely, on a busy machine: it hangs up on a gateway in the middle of an answer, and ends
    the client's stream as if that were whole.
    """
    return len(_HUNG_UP.findall(caddy_log))


class Names(Service):
    """A DNS server that knows the addresses of `gateway`. As Docker's, it says that they hold for long."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._hosts = folder / "hosts"
        self._write(addresses)
        port = free_port()
        listening = [f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]
        knowing = ["--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}", "--local-ttl=600"]
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", *listening, *knowing]
        super().__init__("dnsmasq", port, command=command, PATH=_PATH)

    def tell(self, addresses: Sequence[str]) -> None:
        """From now on these are the gateways."""
        self._write(addresses)
        os.kill(self.pid, signal.SIGHUP)

    def _write(self, addresses: Sequence[str]) -> None:
        """In one step: the server may be reading what it was told before."""
        new = self._hosts.with_suffix(".new")
        new.write_text("".join(f"{address} gateway\n" for address in addresses))
        new.chmod(0o644)
        new.replace(self._hosts)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


def proxy_service(name: str, folder: Path, gateway_port: int, names: Names, *, http2: bool) -> Proxy:
    """A proxy: with HTTP/1.1 on both sides, or with HTTP/2 on both sides as far as it can."""
    make = {"caddy": _caddy, "nginx": _nginx, "haproxy": _haproxy}[name]
    own = folder / f"{name}{2 if http2 else 1}"
    own.mkdir()
    return make(own, gateway_port, names, http2=http2)


def _caddy(folder: Path, gateway_port: int, names: Names, *, http2: bool) -> Proxy:
    """It makes its certificates itself, and is told every address where a gateway may be."""
    del names
    port = free_port()
    config = folder / "Caddyfile"
    config.write_text(
        "{\n admin off\n skip_install_trust\n auto_https disable_redirects\n}\n"
        f"import {_FILES / 'Caddyfile'}\n"
    )
    return Proxy(
        "caddy",
        port,
        *("caddy", "run", "--adapter", "caddyfile", "--config", str(config)),
        ca=folder / "caddy/pki/authorities/local/root.crt" if http2 else None,
        XDG_DATA_HOME=str(folder),
        XDG_CONFIG_HOME=str(folder),
        SITE_ADDRESS=f"{'https' if http2 else 'http'}://localhost:{port}",
        GATEWAYS=" ".join(f"{address}:{gateway_port}" for address in ADDRESSES),
        GATEWAY_HTTP="h2c" if http2 else "1.1",
    )


def _nginx(folder: Path, gateway_port: int, names: Names, *, http2: bool) -> Proxy:
    """Its file is filled in as the official image does it."""
    port = free_port()
    ca = certificate(folder) if http2 else None
    if ca:
        (folder / "tls.conf").write_text(
            f"ssl_certificate {folder / 'tls.pem'};\nssl_certificate_key {folder / 'tls.pem'};\n"
        )
    values = {
        "LISTEN": f"127.0.0.1:{port}{' ssl http2' if http2 else ''}",
        "TLS_DIR": str(folder),
        "RESOLVER": f"127.0.0.1:{names.port}",
        "GATEWAY": f"gateway:{gateway_port}",
        "STREAM_SILENCE": f"{STREAM_SILENCE_S}s",
        "MAX_BODY": "32m",
    }
    config = folder / "nginx"
    config.write_text(Template((_FILES / "nginx.conf").read_text()).safe_substitute(values))
    options = f"daemon off; pid {folder / 'pid'}; error_log stderr warn;"
    path = f"{os.environ['PATH']}:/usr/sbin"
    return Proxy(
        "nginx", port, "nginx", "-p", str(folder), "-c", str(config), "-g", options, ca=ca, PATH=path
    )


def _haproxy(folder: Path, gateway_port: int, names: Names, *, http2: bool) -> Proxy:
    port = free_port()
    ca = certificate(folder) if http2 else None
    tls = f" ssl crt {folder / 'tls.pem'} alpn h2,http/1.1" if http2 else ""
    return Proxy(
        "haproxy",
        port,
        *("haproxy", "-db", "-f", str(_FILES / "haproxy.cfg")),
        ca=ca,
        PATH=_PATH,
        BIND=f"127.0.0.1:{port}{tls}",
        RESOLVER=f"127.0.0.1:{names.port}",
        GATEWAY=f"gateway:{gateway_port}",
        STREAM_SILENCE=f"{STREAM_SILENCE_S}s",
    )


def certificate(folder: Path) -> Path:
    """A certificate for this machine, signed by itself; in `tls.pem` it stands with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(certificate + private)
    ca = folder / "ca.crt"
    ca.write_bytes(certificate)
    return ca
