"""Server-sent events, as WHATWG's HTML standard (section 9.2) defines them."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is `message` where the server gave none."""

    name: str
    data: str


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """Yield the events of a body that comes in any pieces.

    Lines are split at line feeds only: httpx's `aiter_lines` also splits at U+2028 and others,
    which JSON may hold as they are.
    """
    buffer = b""
    async for piece in pieces:
        *blocks, buffer = (buffer + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            event = _parse(block.decode())
            if event is not None:
                yield event


def _parse(block: str) -> Event | None:
    name, data = "message", []
    for line in block.split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
    return Event(name, "\n".join(data)) if data else None
