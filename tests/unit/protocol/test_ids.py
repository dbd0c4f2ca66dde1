import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

from bobbin_protocol import ids


@pytest.mark.parametrize(("kind", "prefix"), ids.PREFIXES.items())
def test_an_id_is_a_prefix_and_a_uuid7(kind: ids.IdKind, prefix: str) -> None:
    head, _, digits = ids.new_id(kind).partition("_")
    uuid = UUID(hex=digits)
    assert (head, len(digits), digits) == (prefix, 32, digits.lower())
    assert (uuid.version, uuid.variant) == (7, RFC_4122)


def test_the_time_of_an_id_is_its_first_48_bits() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = int(ids.uuid7_hex()[:12], 16)
    # Ids made in a burst may run ahead of the clock by a carry, never by much.
    assert before <= milliseconds <= time.time_ns() // 1_000_000 + 1


def test_ids_of_one_process_ascend_within_a_millisecond() -> None:
    made = [ids.uuid7_hex() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_ascend_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    before = ids.uuid7_hex()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600_000_000_000)
    assert before < ids.uuid7_hex() < ids.uuid7_hex()


def test_the_version_survives_a_carry_out_of_the_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A carry runs into the milliseconds, not into the fixed bits between."""
    clock = ids._Clock()
    monkeypatch.setattr(ids, "_clock", clock)
    last_of_its_millisecond = (time.time_ns() // 1_000_000 + 5_000 << 74) | (1 << 74) - 1
    clock._last = last_of_its_millisecond
    uuid = UUID(hex=ids.uuid7_hex())
    assert (uuid.version, uuid.variant) == (7, RFC_4122)
    assert uuid.int >> 80 == (last_of_its_millisecond >> 74) + 1


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [ids.uuid7_hex() for _ in range(2_000)], range(8)))
    assert len({one for batch in made for one in batch}) == 16_000
