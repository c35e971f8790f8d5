"""Measure what each stage costs: the engine alone, the ensemble, and the shim, in one run.

A closed loop of greedy streams of equal length on the demo checkpoint. The load generator shares
the machine with the servers: compare the rows of one run, not runs.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import tritonclient.grpc.aio as triton

from aeolus_client import GenerationRequest, Message, TritonClient
from scripts.bench.service import Service, running_service
from scripts.bench.traffic.closed_loop import Measurement, Stream, closed_loop
from scripts.bench.traffic.predict import greedy_stream_of, open_session, predict_stream
from scripts.bench.traffic.triton_call import engine_call, infer_inputs

MESSAGES: list[Message] = [{"role": "user", "content": "What is a zephyr?"}]
# What the engine alone is given: about as many tokens as the chat prompt has.
PROMPT_IDS = np.arange(100, 124, dtype=np.int32).reshape(1, -1)

HEADER = (
    f"{'':<14}{'concurrency':>12}{'requests/s':>11}{'tokens/s':>11}"
    f"{'TTFT p50':>10}{'p99':>10}{'gap p50':>10}{'p99':>10}   (ms)"
)


def row(target: str, concurrency: int, tokens: int, measured: Measurement) -> str:
    """Format as a line of the table, times in milliseconds."""
    rate = measured.requests_per_second
    times = [
        1000 * np.percentile(values, percent)
        for values in (measured.first_chunk, measured.gaps)
        for percent in (50, 99)
    ]
    return f"{target:<14}{concurrency:>12}{rate:>11.2f}{rate * tokens:>11.0f}" + "".join(
        f"{value:>10.1f}" for value in times
    )


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
    inputs = infer_inputs(
        {
            "input_ids": PROMPT_IDS,
            "input_lengths": np.array([[PROMPT_IDS.size]], np.int32),
            "request_output_len": np.array([[tokens]], np.int32),
            "streaming": np.array([[True]]),
        }
    )

    async def start() -> AsyncGenerator[None, None]:
        async for _, error in client.stream_infer(engine_call(inputs)):
            if error is not None:
                raise error
            yield

    return start


async def bench(service: Service, arguments: argparse.Namespace) -> None:
    """Print the table."""
    tokens = arguments.tokens
    direct = triton.InferenceServerClient(service.grpc_address)
    ensemble = TritonClient(service.grpc_address)
    body = greedy_stream_of(tokens) | {"messages": MESSAGES}
    async with open_session() as session:
        targets = {
            "shim": predict_stream(session, service.url, body),
            "ensemble": ensemble_stream(ensemble, tokens),
            "tensorrt_llm": engine_stream(direct, tokens),
        }
        for start in targets.values():
            await closed_loop(start, 1, 2)  # warm up
        print(HEADER)
        for concurrency in arguments.concurrency:
            requests = max(arguments.requests, 2 * concurrency)
            for target, start in targets.items():
                measured = await closed_loop(start, concurrency, requests)
                print(row(target, concurrency, tokens, measured), flush=True)
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
        asyncio.run(bench(service, arguments))


if __name__ == "__main__":
    main()
