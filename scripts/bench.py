"""Measure what each stage costs: the engine alone, the ensemble, and the shim, in one run.

A closed loop of greedy streams of equal length on the demo checkpoint. The load generator shares
the machine with the servers: compare the rows of one run, not runs.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import tritonclient.grpc.aio as triton

from client import GenerationRequest, Message, TritonClient
from launcher.ports import TritonPorts
from launcher.service import running_service

MESSAGES: list[Message] = [{"role": "user", "content": "What is a zephyr?"}]
# What the engine alone is given: about as many tokens as the chat prompt has.
PROMPT_IDS = np.arange(100, 124, dtype=np.int32).reshape(1, -1)

Stream = Callable[[], AsyncGenerator[None, None]]
"""Starts one request; yields once a chunk."""


@dataclass(slots=True)
class Measurement:
    """What one row of the table is made of; times in seconds."""

    requests: int
    tokens_per_request: int
    seconds: float = 0.0
    first_token: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def row(self, target: str, concurrency: int) -> str:
        """Format as a line of the table, times in milliseconds."""
        rate = self.requests / self.seconds
        times = [
            1000 * np.percentile(values, percent)
            for values in (self.first_token, self.gaps)
            for percent in (50, 99)
        ]
        return (
            f"{target:<14}{concurrency:>12}{rate:>11.2f}{rate * self.tokens_per_request:>11.0f}"
            + "".join(f"{value:>10.1f}" for value in times)
        )


HEADER = (
    f"{'':<14}{'concurrency':>12}{'requests/s':>11}{'tokens/s':>11}"
    f"{'TTFT p50':>10}{'p99':>10}{'gap p50':>10}{'p99':>10}   (ms)"
)


async def measure(start: Stream, concurrency: int, requests: int, tokens: int) -> Measurement:
    """Run `requests` streams of `tokens` tokens, `concurrency` at a time."""
    result = Measurement(requests, tokens)
    remaining = iter(range(requests))

    async def worker() -> None:
        for _ in remaining:
            before, times = time.perf_counter(), result.first_token
            async with aclosing(start()) as chunks:
                async for _ in chunks:
                    now = time.perf_counter()
                    times.append(now - before)
                    before, times = now, result.gaps

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    result.seconds = time.perf_counter() - started
    return result


def shim_stream(session: aiohttp.ClientSession, url: str, tokens: int) -> Stream:
    """Raw text chunks from the predict route."""
    body = {
        "messages": MESSAGES,
        "stream": True,
        "do_sample": False,
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
    }

    async def start() -> AsyncGenerator[None, None]:
        async with session.post(f"{url}/predict", json=body) as reply:
            reply.raise_for_status()
            async for _ in reply.content.iter_any():
                yield

    return start


def ensemble_stream(client: TritonClient, tokens: int) -> Stream:
    """Text chunks from the ensemble over gRPC."""

    async def start() -> AsyncGenerator[None, None]:
        request = GenerationRequest(
            messages=MESSAGES, max_tokens=tokens, min_tokens=tokens, top_k=1, stream=True
        )
        async with aclosing(client.stream(request)) as chunks:
            async for _ in chunks:
                yield

    return start


def engine_stream(client: triton.InferenceServerClient, tokens: int) -> Stream:
    """Tokens from `tensorrt_llm` over gRPC."""
    inputs = [
        _tensor("input_ids", "INT32", PROMPT_IDS),
        _tensor("input_lengths", "INT32", np.array([[PROMPT_IDS.size]], np.int32)),
        _tensor("request_output_len", "INT32", np.array([[tokens]], np.int32)),
        _tensor("streaming", "BOOL", np.array([[True]])),
    ]

    async def request() -> AsyncIterator[dict[str, object]]:
        yield {"model_name": "tensorrt_llm", "inputs": inputs}

    async def start() -> AsyncGenerator[None, None]:
        async for _, error in client.stream_infer(request()):
            if error is not None:
                raise error
            yield

    return start


def _tensor(
    name: str, dtype: str, values: "np.ndarray[tuple[int, int], np.dtype[np.generic]]"
) -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), dtype)
    tensor.set_data_from_numpy(values)
    return tensor


async def bench(url: str, ports: TritonPorts, arguments: argparse.Namespace) -> None:
    """Print the table."""
    tokens = arguments.tokens
    direct = triton.InferenceServerClient(f"127.0.0.1:{ports.grpc}")
    ensemble = TritonClient(f"127.0.0.1:{ports.grpc}")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        targets = {
            "shim": shim_stream(session, url, tokens),
            "ensemble": ensemble_stream(ensemble, tokens),
            "tensorrt_llm": engine_stream(direct, tokens),
        }
        for start in targets.values():
            await measure(start, 1, 2, tokens)  # warm up
        print(HEADER)
        for concurrency in arguments.concurrency:
            requests = max(arguments.requests, 2 * concurrency)
            for target, start in targets.items():
                result = await measure(start, concurrency, requests, tokens)
                print(result.row(target, concurrency), flush=True)
    await ensemble.close()
    await direct.close()


def main() -> None:
    """Serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--requests", type=int, default=16, help="a row, at least")
    parser.add_argument("--tokens", type=int, default=64, help="a request")
    arguments = parser.parse_args()
    with running_service(Path(".run/bench/shim.log")) as service:
        asyncio.run(bench(service.url, service.ports, arguments))


if __name__ == "__main__":
    main()
