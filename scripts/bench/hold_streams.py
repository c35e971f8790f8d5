"""Hold many slow streams for a minute, leave them all at once, and tell what they cost.

The engine is given as many rows as there are streams, so that each gets a token now and then.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from scripts.bench.service import Service, running_service
from scripts.bench.traffic.predict import open_session

MODEL = "llama-3-8b-instruct"
CHECKPOINT = Path("demo/checkpoint")
TOKENS = 600
"""More than a stream gets in the time; it is left before its end."""
TOKENS_PER_ROW = 1024
START_SECONDS = 300
BODY = {
    "messages": [{"role": "user", "content": "What is a zephyr?"}],
    "stream": True,
    "max_new_tokens": TOKENS,
    "min_new_tokens": TOKENS,
}


class Stream:
    """One stream and what has come of it."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.chunks = 0
        self.last_at = 0.0

    async def hold(self, session: aiohttp.ClientSession, url: str) -> None:
        """Read to the end, which is not meant to come."""
        headers = {"accept": "text/event-stream"}
        try:
            async with session.post(f"{url}/predict", json=BODY, headers=headers) as reply:
                reply.raise_for_status()
                async for line in reply.content:
                    if line.startswith(b"event: error"):
                        raise RuntimeError("the stream ended in an error")
                    self.has_begun.set()
                    self.chunks += line.startswith(b"data:")
                    self.last_at = time.monotonic()
        finally:
            self.has_begun.set()  # or will not any more


async def hold(service: Service, count: int, seconds: float) -> bool:
    """Print what happened to the streams; returns whether all is well."""
    empty = service.memory()
    streams = [Stream() for _ in range(count)]
    async with open_session() as session:
        tasks = [asyncio.create_task(stream.hold(session, service.url)) for stream in streams]
        started = time.monotonic()
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*(stream.has_begun.wait() for stream in streams))
        print(f"{count} streams have begun after {time.monotonic() - started:.0f} s", flush=True)
        before = sum(stream.chunks for stream in streams)
        await asyncio.sleep(seconds)
        lost = [task for task in tasks if task.done()]
        rate = (sum(stream.chunks for stream in streams) - before) / seconds
        waits = sorted(time.monotonic() - stream.last_at for stream in streams)
        full = service.memory()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    leaked = await asyncio.to_thread(service.leaked)
    print(
        f"held for {seconds:.0f} s: {len(lost)} lost; {rate:.0f} tokens/s of all, the last one at "
        f"most {waits[-1]:.1f} s ago; left at once, they leaked: {leaked or 'nothing'}"
    )
    print(f"{'MiB':<16}{'idle':>8}{'held':>8}{'after':>8}{'KiB a stream':>14}")
    after = service.memory()
    for name in empty:
        each = (full[name] - empty[name]) * 1024 / count
        print(f"{name:<16}{empty[name]:>8.0f}{full[name]:>8.0f}{after[name]:>8.0f}{each:>14.1f}")
    return not lost and not leaked


def main() -> None:
    """Assemble, serve, hold, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    count = arguments.count
    with tempfile.TemporaryDirectory() as directory:
        repository = assemble_reference(load_catalog()[MODEL], CHECKPOINT, Path(directory))
        limits = {
            "max_num_sequences": str(count),
            "max_tokens_in_paged_kv_cache": str(count * TOKENS_PER_ROW),
            "max_queue_size": str(count),
        }
        repository.set_parameters("tensorrt_llm", limits)
        options = ("--model", MODEL, "--repository", directory)
        log_path = Path(".run/hold_streams/shim.log")
        with running_service(log_path, *options, max_running=str(count)) as service:
            is_well = asyncio.run(hold(service, count, arguments.seconds))
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
