"""Two gateways behind all proxies at once: each with HTTP/1.1 on both sides, and with HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from msgspec import Struct

from tests.cluster import Cluster
from tests.model import model_service
from tests.processes import free_port, running
from tests.proxies import ADDRESSES, NAMES, Names, Proxy, proxy_service, require_proxies
from tests.stack import gateway_service, store_service, temporary_data

MOST_BYTES = 4 * 1024 * 1024
"""Of an attachment."""


class Site(Struct):
    """What stands behind the proxies, and they."""

    cluster: Cluster
    names: Names
    folder: Path
    port: int
    """Of every gateway."""
    proxies: dict[str, Proxy]


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One for all tests that do not break it."""
    require_proxies()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_data())
        names = stack.enter_context(running(Names(folder, ADDRESSES[:2])))
        store = stack.enter_context(running(store_service(stack.enter_context(temporary_data()))))
        model = stack.enter_context(running(model_service()))
        port = free_port()
        settings = {
            "KEEPALIVE_S": "0.5",
            "ATTACHMENTS_URL": (folder / "attachments").as_uri(),
            "ATTACHMENT_MAX_BYTES": str(MOST_BYTES),
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        gateways = [
            stack.enter_context(running(gateway_service(store, model, port, GATEWAY_HOST=host, **settings)))
            for host in ADDRESSES[:2]
        ]
        proxies = {
            f"{name}-HTTP/{2 if http2 else 1}": proxy_service(name, folder, port, names, http2=http2)
            for name in NAMES
            for http2 in (False, True)
        }
        for proxy in proxies.values():
            stack.enter_context(running(proxy))
        cluster = Cluster(store=store, model=model, gateways=gateways)
        yield Site(cluster=cluster, names=names, folder=folder, port=port, proxies=proxies)


@pytest.fixture
def cluster(site: Site) -> Cluster:
    """What stands behind the proxies."""
    return site.cluster


@pytest.fixture(params=[f"{name}-HTTP/{version}" for name in NAMES for version in (1, 2)])
def proxy(site: Site, request: pytest.FixtureRequest) -> Proxy:
    """Each proxy."""
    return site.proxies[request.param]


@pytest.fixture
async def http(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the proxy."""
    async with proxy.client() as client:
        yield client
