"""Server-sent events, however the network cuts them."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aeolus_client.http.events import Event, read_events

BODY = (
    'data: {"text": "a\u2028b\x85c\x0bd é"}\n\n: a comment\n\n'
    "event: error\ndata: one\ndata: two\n\ndata:[DONE]\r\n\r\ndata: never ended"
).encode()
EVENTS = [
    Event("message", '{"text": "a\u2028b\x85c\x0bd é"}'),
    Event("error", "one\ntwo"),
    Event("message", "[DONE]"),
]


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_events_are_the_same_for_any_pieces(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(BODY)]

    async def pieces() -> AsyncIterator[bytes]:
        for begin, end in pairwise(bounds):
            yield BODY[begin:end]

    async def read() -> list[Event]:
        return [event async for event in read_events(pieces())]

    assert asyncio.run(read()) == EVENTS
