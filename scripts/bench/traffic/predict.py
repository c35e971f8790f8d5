"""Requests to the predict route of the Truss server, which is also the shim's."""

from collections.abc import AsyncGenerator, Mapping

import aiohttp

from scripts.bench.traffic.closed_loop import Stream

ROUTE = "/v1/models/model:predict"


def open_session() -> aiohttp.ClientSession:
    """Return a session with as many connections, for as long, as requests need."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )


def predict_stream(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> Stream:
    """Return the chunks of raw text, where `body` asks for a stream; else of the whole reply."""

    async def start() -> AsyncGenerator[None, None]:
        async with session.post(f"{url}{ROUTE}", json=body) as reply:
            reply.raise_for_status()
            async for _ in reply.content.iter_any():
                yield

    return start


async def predict_text(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> str:
    """Return the text of a reply: of a string in JSON, else of a stream."""
    async with session.post(f"{url}{ROUTE}", json=body) as reply:
        reply.raise_for_status()
        is_whole = reply.content_type == "application/json"
        text: str = await (reply.json() if is_whole else reply.text())
        return text


def greedy_stream_of(tokens: int) -> dict[str, object]:
    """Return the parameters of a greedy stream that is exactly so many tokens long."""
    return {
        "stream": True,
        "do_sample": False,
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
    }
