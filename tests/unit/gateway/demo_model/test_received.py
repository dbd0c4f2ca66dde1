"""The list of requests for tests."""

from __future__ import annotations

import msgspec
import pytest

from bobbin_gateway.demo_model.received import ReceivedRequests


def test_the_list_is_bounded_and_keeps_its_numbers() -> None:
    """The oldest are forgotten; a number is never given twice."""
    received = ReceivedRequests(limit=2)
    for text in (b'"a"', b'"b"', b'"c"'):
        received.add("POST", "/v1/responses", "", text)
    listing = received.listing("")
    assert (listing.next, [one.number for one in listing.requests]) == (3, [1, 2])
    received.clear()
    assert received.listing("").requests == []
    assert received.add("POST", "/v1/responses", "", b"{}").number == 3


def test_a_test_finds_its_own_requests() -> None:
    """By number and by a text that only this test has sent."""
    received = ReceivedRequests()
    for text in (b'"one"', b'"two"', b'"one more"'):
        received.add("POST", "/v1/responses", "Bearer x", text)
    assert [one.number for one in received.listing("contains=one").requests] == [0, 2]
    assert [one.number for one in received.listing("contains=one&since=1").requests] == [2]
    assert msgspec.json.decode(received.listing("since=2").requests[0].body) == "one more"
    with pytest.raises(ValueError, match="x"):
        received.listing("since=x")
