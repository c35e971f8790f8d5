"""Streams from the route /predict of the shim, or of what stands in its place."""

from collections.abc import AsyncGenerator, Mapping

import aiohttp

from scripts.bench.traffic.closed_loop import Stream


def open_session() -> aiohttp.ClientSession:
    """Return a session with as many connections, for as long, as requests need."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )


def predict_stream(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> Stream:
    """Chunks of raw text; `body` asks for a stream."""

    async def start() -> AsyncGenerator[None, None]:
        async with session.post(f"{url}/predict", json=body) as reply:
            reply.raise_for_status()
            async for _ in reply.content.iter_any():
                yield

    return start


def greedy_stream_of(tokens: int) -> dict[str, object]:
    """Return the parameters of a greedy stream that is exactly so many tokens long."""
    return {
        "stream": True,
        "do_sample": False,
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
    }
