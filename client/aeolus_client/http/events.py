"""Server-sent events, as WHATWG's HTML standard (section 9.2) defines them."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is `message` where the server gave none."""

    name: str
    data: str


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """Yield the events of a body that comes in any pieces; an unfinished last one is dropped.

    Lines are split at line feeds only: httpx's `aiter_lines` also splits at U+2028 and others,
    which JSON may hold as they are.
    """
    block: list[str] = []
    unfinished: list[bytes] = []
    async for piece in pieces:
        unfinished.append(piece)
        if b"\n" not in piece:
            continue
        *lines, rest = b"".join(unfinished).split(b"\n")
        unfinished = [rest]
        for line in lines:
            if text := line.removesuffix(b"\r").decode(errors="replace"):
                block.append(text)
            elif block:
                event = _parse(block)
                block = []
                if event is not None:
                    yield event


def _parse(block: list[str]) -> Event | None:
    name, data = "message", []
    for line in block:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
    return Event(name, "\n".join(data)) if data else None
