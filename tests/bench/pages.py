"""A page of a long list beside a page of a short one, through the store's HTTP API."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import msgspec
from msgspec import Struct

from bobbin_protocol.store import MSGPACK, OWNER_HEADER
from bobbin_store.database import connect
from tests.bench.client import BrokenRun
from tests.bench.cost import Meter
from tests.bench.figures import Figures
from tests.bench.servers import Servers
from tests.stack import STORE_TOKEN

THREADS = """
INSERT INTO bobbin.threads (owner_id, id, created_at, title, status, metadata, last_seq)
SELECT $1, 'thr_' || lpad(to_hex(n), 32, '0'), timestamptz '2026-01-01' + n * interval '1 second',
       'Thread number ' || n, '{"type":"active"}', '{}', 0
FROM generate_series(1, $2::int) AS n
"""
ITEMS = """
INSERT INTO bobbin.items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
SELECT $1, $2, item.id, n, 'assistant_message', false, item.created_at, json_build_object(
           'type', 'assistant_message', 'id', item.id, 'thread_id', $2::text, 'created_at', item.created_at,
           'content', json_build_array(json_build_object(
               'type', 'output_text', 'annotations', json_build_array(),
               'text', 'An answer of a hundred characters. ' || repeat('x', 65))))
FROM generate_series(1, $3::int) AS n,
     LATERAL (SELECT 'msg_' || lpad(to_hex(n), 32, '0') AS id,
                     timestamptz '2026-01-01' + n * interval '1 second' AS created_at) AS item
"""
THREAD = "thr_" + "1".zfill(32)
BATCH = 10
FILL_TIMEOUT_S = 60.0


class List(Struct):
    """A list of some length, and how to get pages of it."""

    kind: str
    owner: str
    path: str
    prefix: str
    rows: int

    def paths(self) -> dict[str, str]:
        """The first page, and one in the middle."""
        middle = f"{self.prefix}_{self.rows // 2:032x}"
        return {"first": self.path, "middle": f"{self.path}?after={middle}"}


async def measure_pages(servers: Servers, figures: Figures, rows: tuple[int, int], pages: int) -> None:
    """Time and CPU (store and PostgreSQL) of a page of 20: of the short list and the long, by turns."""
    lists = await _fill(servers.dsn, rows)
    trees = {"store": servers.trees["store"], "postgres": servers.trees["postgres"]}
    store = await _Store.connect(servers.store.port)
    for each in lists:
        for path in each.paths().values():
            for _ in range(2 * BATCH):  # each of the store's database connections plans its statements once
                await store.page(each.owner, path)
    for page in ("first", "middle"):
        for kind in ("threads", "items"):
            for short_and_long in [[each for each in lists if each.kind == kind]] * (pages // BATCH):
                for each in short_and_long:
                    path, meter, seconds = each.paths()[page], Meter(trees), list[float]()
                    for _ in range(BATCH):
                        begun = time.perf_counter()
                        await store.page(each.owner, path)
                        seconds.append(time.perf_counter() - begun)
                    name = f"{kind}.list, {page} page, of {each.rows}"
                    figures.add("ours", f"{name}/time", median(seconds))
                    cpu = {part: spent / BATCH for part, spent in meter.read().items()}
                    figures.add_parts("ours", f"{name}/cpu", cpu)
    store.close()


async def _fill(dsn: str, rows: tuple[int, int]) -> list[List]:
    """Make one owner with few threads and one with many; and a thread with few items and one with many."""
    connection = await connect(dsn, FILL_TIMEOUT_S)
    lists: list[List] = []
    try:
        await connection.execute("SET session_replication_role = replica")  # no look-up of each row's thread
        await connection.execute("SET synchronous_commit = off")
        for count in rows:
            owner = f"bench-{count}"
            await connection.execute(THREADS, owner, count)
            await connection.execute(ITEMS, owner, THREAD, count)
            lists.append(List("threads", owner, "/v1/threads", "thr", count))
            lists.append(List("items", owner, f"/v1/threads/{THREAD}/items", "msg", count))
        await connection.execute("VACUUM (ANALYZE) bobbin.threads")
        await connection.execute("VACUUM (ANALYZE) bobbin.items")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return lists


class _Page(Struct):
    data: list[msgspec.Raw]
    has_more: bool


_decode = msgspec.msgpack.Decoder(_Page).decode


class _Store:
    """A connection to the store, as the gateway's, but cheaper."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> _Store:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def page(self, owner: str, path: str) -> None:
        """Get a page of 20 rows that is not the last."""
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {STORE_TOKEN}\r\n"
        self._writer.write(f"{head}{OWNER_HEADER}: {owner}\r\naccept: {MSGPACK}\r\n\r\n".encode())
        response = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(response.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not response.startswith(b"http/1.1 200 "):
            raise BrokenRun(f"{path}: {response!r} {body!r}")
        page = _decode(body)
        if len(page.data) != 20 or not page.has_more:
            raise BrokenRun(f"{path}: a page of {len(page.data)}")

    def close(self) -> None:
        self._writer.close()
