"""Measure what a token costs on its way to the client, with an engine that costs next to nothing.

In one run: the null engine straight to gRPC (the floor), the ensemble with our postprocessing, and
the same ensemble with one like NVIDIA's, which decodes each response by itself. There the engine
sends a response a token, as the C++ backend does, as fast as they go. In the rows "-joined" it
makes tokens at the pace of a fast GPU, and what waits of a stream goes out as one response, as with
the reference engine; in the row "executor" the executor's own engine drives a stand-in for
TensorRT-LLM at that pace, whose tokens cost Python time that the real one's do not. In the rows
"-shim" the same goes through the shim's predict route. Client and servers share the machine:
compare the rows of one run, not runs.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from launcher.processes import family
from scripts.bench.service import running_shim, running_triton
from scripts.bench.traffic.predict import open_session, predict_stream
from scripts.bench.traffic.triton_call import Array, infer_inputs
from support.null_repository import null_repository, stateless_repository
from support.rehearsal import paced_repository

PACE = 31_900
"""Tokens a second of Mistral 7B in FP8 on an H200, as NVIDIA publishes."""
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
PROMPT = "What is a zephyr?"
PROMPT_IDS = range(100, 108)


def ensemble_request(tokens: int, seed: int) -> bytes:
    """Ask the ensemble for a stream as NVIDIA's clients do: the text and nothing else."""
    return _request(
        "ensemble",
        {
            "text_input": np.array([[PROMPT.encode()]], np.object_),
            "max_tokens": np.array([[tokens]], np.int32),
            "stream": np.array([[True]]),
            "seed": np.array([[seed]], np.uint64),
        },
        ["text_output"],
    )


def engine_request(tokens: int, seed: int) -> bytes:
    """Ask the engine for a stream of ids."""
    return _request(
        "tensorrt_llm",
        {
            "input_ids": np.array([PROMPT_IDS], np.int32),
            "input_lengths": np.array([[len(PROMPT_IDS)]], np.int32),
            "request_output_len": np.array([[tokens]], np.int32),
            "streaming": np.array([[True]]),
            "seed": np.array([[seed]], np.uint64),
        },
        ["output_ids", "sequence_length"],
    )


def _request(model: str, arrays: dict[str, Array], outputs: list[str]) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model, id=os.urandom(8).hex())
    for tensor in infer_inputs(arrays):
        request.inputs.append(tensor._get_tensor())
        request.raw_input_contents.append(tensor._get_content())
    request.outputs.extend(
        service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs
    )
    serialized: bytes = request.SerializeToString()
    return serialized


async def run_streams(address: str, requests: list[bytes]) -> tuple[float, list[list[bytes]]]:
    """Run all at once; return the seconds and each one's responses, not yet parsed."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(STREAM_INFER)

        async def stream(request: bytes) -> list[bytes]:
            return [response async for response in call(iter([request]))]

        started = time.perf_counter()
        responses = await asyncio.gather(*map(stream, requests))
        return time.perf_counter() - started, responses


def check(responses: list[bytes]) -> None:
    """Stop the benchmark where a response is an error."""
    for response in responses:
        if error := service_pb2.ModelStreamInferResponse.FromString(response).error_message:
            raise SystemExit(error)


async def predict(url: str, bodies: list[dict[str, object]]) -> tuple[float, int]:
    """Stream all at once from the shim; return the seconds and the number of chunks."""
    async with open_session() as session:

        async def stream(body: dict[str, object]) -> int:
            return len([chunk async for chunk in predict_stream(session, url, body)()])

        started = time.perf_counter()
        chunks = await asyncio.gather(*map(stream, bodies))
        return time.perf_counter() - started, sum(chunks)


class Usage(NamedTuple):
    """What a process has used."""

    cpu_seconds: float
    megabytes: float
    """Resident now."""


def usage(shim: int | None = None) -> dict[str, Usage]:
    """Return that of this process and of the servers', which descend from it, `shim` among them."""
    names = {os.getpid(): "client", shim: "shim"}
    return {
        names.get(each.pid, each.name): Usage(each.cpu_seconds(), each.rss() / 1e6)
        for each in family(os.getpid())
    }


def row_of(
    tokens: int, seconds: float, responses: int, before: dict[str, Usage], after: dict[str, Usage]
) -> str:
    """Return a row of the table."""
    costs = {
        name: 1e6 * (after[name].cpu_seconds - before[name].cpu_seconds) / tokens for name in before
    }
    row = f"{tokens / seconds:>10.0f}{responses / tokens:>11.2f}{sum(costs.values()):>6.0f}"
    return row + "".join(
        f"{costs[name]:>9.0f}{after[name].megabytes:>6.0f} MB" if name in costs else " " * 18
        for name in PROCESSES
    )


def measure(address: str, requests: list[bytes], tokens: int) -> str:
    """Run the requests; return a row of the table."""
    before = usage()
    seconds, responses = asyncio.run(run_streams(address, requests))
    after = usage()
    for each in responses:
        check(each)
    return row_of(tokens * len(requests), seconds, sum(map(len, responses)), before, after)


def measure_shim(shim: int, url: str, streams: int, tokens: int) -> str:
    """Run so many streams through the shim; return a row of the table."""
    bodies = [
        {"prompt": PROMPT, "stream": True, "max_new_tokens": tokens, "seed": seed}
        for seed in range(streams)
    ]
    before = usage(shim)
    seconds, chunks = asyncio.run(predict(url, bodies))
    return row_of(tokens * streams, seconds, chunks, before, usage(shim))


PROCESSES = ("tritonserver", "preprocessing", "tensorrt_llm", "postprocessing", "shim", "client")
HEADER = f"{'':<18}{'streams':>8}{'tokens/s':>10}{'responses':>11}{'CPU':>6}" + "".join(
    f"{name:>18}" for name in PROCESSES
)


ROWS = {
    "floor": (null_repository, 0, engine_request),
    "ours": (null_repository, 0, ensemble_request),
    "stateless": (stateless_repository, 0, ensemble_request),
    "ours-joined": (null_repository, PACE, ensemble_request),
    "stateless-joined": (stateless_repository, PACE, ensemble_request),
    "executor": (paced_repository, PACE, ensemble_request),
}
SHIM_ROWS = {f"{row}-shim": ROWS[row][:2] for row in ("ours", "executor")}
MODEL = "mistral-7b"


def tokens_of_each(tokens: int, streams: int) -> int:
    """Divide them among the streams; no reply has more than the model's context."""
    return min(tokens // streams, 3000)


def bench_shim(row: str, directory: Path, streams: list[int], tokens: int) -> None:
    """Put a shim before the ensemble; print its rows."""
    write, pace = SHIM_ROWS[row]
    repository = write(directory / row, pace)
    with (
        running_triton(repository.path, directory / f"{row}-run") as server,
        running_shim(server.grpc_address, MODEL, max(streams), directory / f"{row}.log") as (
            pid,
            url,
        ),
    ):
        measure_shim(pid, url, 4, 100)  # warm up
        for each in streams:
            measured = measure_shim(pid, url, each, tokens_of_each(tokens, each))
            print(f"{row:<18}{each:>8}{measured}", flush=True)


def main() -> None:
    """Serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    rows = [*ROWS, *SHIM_ROWS]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--tokens", type=int, default=24_000, help="of all streams together")
    arguments = parser.parse_args()
    print(
        "responses a token; CPU microseconds a token in all, and of each process, with its memory"
    )
    print(HEADER)
    with tempfile.TemporaryDirectory() as name:
        for row in arguments.rows:
            if row in SHIM_ROWS:
                bench_shim(row, Path(name), arguments.streams, arguments.tokens)
                continue
            write, pace, make = ROWS[row]
            repository = write(Path(name) / row, pace)
            # A server of its own: no row is slowed by another's processes.
            with running_triton(repository.path, Path(name) / f"{row}-run") as server:
                measure(server.grpc_address, [make(100, 0) for _ in range(4)], 100)  # warm up
                for streams in arguments.streams:
                    tokens = tokens_of_each(arguments.tokens, streams)
                    requests = [make(tokens, seed) for seed in range(streams)]
                    measured = measure(server.grpc_address, requests, tokens)
                    print(f"{row:<18}{streams:>8}{measured}", flush=True)


if __name__ == "__main__":
    main()
