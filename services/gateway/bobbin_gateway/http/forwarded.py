"""Where a client reached us, when it is a proxy in between that knows: X-Forwarded-Proto and -Host.

Anyone can send such headers, so they count from the addresses of `TRUSTED_PROXIES` only. Of several values
the last counts: the nearest proxy added it, what stands before came from further away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from bobbin_telemetry.asgi import Application, Receive, Scope, Send


def trusting(app: Application, networks: Iterable[str]) -> Application:
    """The whole application, taking proxies in these networks at their word.

    Around all of it: within, someone may have looked at the headers before, and remember them.
    """
    proxies = [ip_network(network) for network in networks]

    @lru_cache(maxsize=1024)
    def is_trusted(host: str) -> bool:
        return _is_within(host, proxies)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (client := scope["client"]) is not None and is_trusted(client[0]):
            _correct(scope)
        await app(scope, receive, send)

    return served


def _is_within(host: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket has none
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _correct(scope: Scope) -> None:
    """Put into the scope what the proxy says; what makes no sense is not heard."""
    scheme, host = b"", b""
    for name, value in scope["headers"]:
        if name == b"x-forwarded-proto":
            scheme = value.rpartition(b",")[2].strip().lower()
        elif name == b"x-forwarded-host":
            host = value.rpartition(b",")[2].strip()
    if scheme in {b"http", b"https"}:
        scope["scheme"] = scheme.decode()
    if _HOST.fullmatch(host):
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [*others, (b"host", host)]


_HOST: Final = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
"""A name or an address, and perhaps a port: it becomes part of URLs."""
