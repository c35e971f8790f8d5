"""Running the sequences of a request: several at once, some for a limited time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from aeolus_client import Completion, GenerationRequest, TextChunk, gather

Chunks = AsyncGenerator[TextChunk, None]
Generate = Callable[[GenerationRequest], Chunks]
IndexedChunk = tuple[int, TextChunk]


def run(generate: Generate, request: GenerationRequest, max_time: float | None) -> Chunks:
    """Return the chunks of one sequence.

    Args:
        generate: runs a request.
        request: what to run; with a time limit, a stream.
        max_time: seconds after which it is stopped, but not before its first chunk.
    """
    chunks = generate(request)
    return chunks if max_time is None else _until(chunks, max_time)


async def complete_all(
    generate: Generate, requests: list[GenerationRequest], max_time: float | None, beams: int
) -> list[Completion]:
    """Run requests at once to their ends; the first failure ends them all.

    Returns the sequence of each request; where it is a beam search, its best `beams`.
    """
    tasks = [asyncio.create_task(gather(run(generate, each, max_time))) for each in requests]
    try:
        bests = await asyncio.gather(*tasks)
        return [each for best in bests for each in [best, *best.other_beams][:beams]]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def merge(
    streams: list[Chunks],
) -> AsyncGenerator[IndexedChunk, None]:
    """Yield the chunks of several sequences as they come, each with its sequence's index.

    Holds at most one chunk a sequence. Raises the first failure; closes all streams in any case.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for chunk in only:
                yield 0, chunk
        return
    arrived: asyncio.Queue[IndexedChunk | Exception] = asyncio.Queue(len(streams))

    async def forward(index: int, stream: Chunks) -> None:
        async with aclosing(stream):
            try:
                async for chunk in stream:
                    await arrived.put((index, chunk))
            except Exception as error:
                await arrived.put(error)

    tasks = [asyncio.create_task(forward(*each)) for each in enumerate(streams)]
    try:
        running = len(streams)
        while running:
            next_one = await arrived.get()
            if isinstance(next_one, Exception):
                raise next_one
            yield next_one
            running -= next_one[1].finish_reason is not None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def combine(completions: list[Completion]) -> Completion:
    """Return the counts of sequences of one prompt; `length` if any was cut."""
    return Completion(
        text="",
        prompt_tokens=completions[0].prompt_tokens,
        completion_tokens=sum(each.completion_tokens for each in completions),
        finish_reason="length"
        if any(each.finish_reason == "length" for each in completions)
        else "stop",
    )


async def _until(chunks: Chunks, seconds: float) -> Chunks:
    deadline = asyncio.get_running_loop().time() + seconds
    async with aclosing(chunks):
        last = await anext(chunks)
        yield last
        while last.finish_reason is None:
            try:
                async with asyncio.timeout_at(deadline):
                    last = await anext(chunks)
            except TimeoutError:
                last = replace(
                    last,
                    text="",
                    finish_reason="length",
                    output_ids=[],
                    log_probs=[],
                    token_texts=[],
                    top=[],
                    prompt=None,
                )
            yield last
