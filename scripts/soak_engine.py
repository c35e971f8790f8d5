"""Random traffic against a real tritonserver for minutes, every answer compared with a lone run.

Requests of all kinds - greedy, seeded, beams, penalties, word lists, biases, log-probabilities,
text through the ensemble - are first answered one at a time. Then they are sent again and again,
many at once: some run to their end, some are stopped, some clients cancel their call or drop the
connection. At the end memory must be where it was and every KV cache block free.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

from build_engines.assemble import assemble_reference
from catalog import load_catalog
from client import GenerationRequest, TritonClient
from launcher.metrics import left_behind
from launcher.ports import free_ports
from launcher.processes import family
from launcher.server import TritonServer

DEMO = Path(__file__).parent.parent / "demo" / "checkpoint"
DEMO_MODEL = "llama-3-8b-instruct"
VOCAB_SIZE = 2048
CACHE_TOKENS = 8192
SHARED_PREFIX = list(range(300, 396))  # of a third of the prompts: three blocks to reuse
TYPES = {"bool": "BOOL", "int32": "INT32", "uint64": "UINT64", "float32": "FP32"}
ANSWER_SECONDS = 120
WARM_UP_SHARE = 0.25  # of the time; until then caches fill and memory grows
MOST_GROWTH = 1.05
MIB = 1 << 20
WAYS = {"stays": 12, "stops": 3, "cancels": 3, "hangs up": 2}  # and how often

Array = np.ndarray[Any, np.dtype[Any]]


class LostError(Exception):
    """An answer did not come, or came as an error."""


@dataclass
class TokenCase:
    """A request to `tensorrt_llm`, and its beams when it ran alone."""

    inputs: dict[str, Array]
    beam_width: int
    expected: list[list[int]] = field(default_factory=list)

    async def run(self, address: str, way: str, after: int, streaming: bool) -> list[list[int]]:
        """Send it; leave in the given way after so many responses. Returns what has come."""
        request_id = uuid.uuid4().hex
        inputs = self.inputs | {"streaming": np.array([[streaming]])}
        beams: list[list[int]] = [[] for _ in range(self.beam_width)]
        async with triton.InferenceServerClient(address) as client:
            responses = client.stream_infer(_one_call(inputs, request_id))
            number = 0
            async for result, error in responses:
                if error is not None:
                    raise LostError(str(error))
                new = _beams(result)
                grows = streaming and self.beam_width == 1
                beams = [beams[0] + new[0]] if grows else new
                number += 1
                if number == after and way == "stops":
                    async for _ in client.stream_infer(_stop_call(request_id)):
                        pass
                if number >= after and way == "cancels":
                    responses.cancel()
                    break
                if number >= after and way == "hangs up":
                    break
        return beams

    def is_answered_by(self, beams: list[list[int]], left: bool) -> bool:
        """Say whether `beams` are those of the lone run, or as far as they had come."""
        if not left:
            return beams == self.expected
        return self.beam_width > 1 or beams[0] == self.expected[0][: len(beams[0])]


@dataclass
class TextCase:
    """A request to the ensemble, and its text when it ran alone."""

    prompt: str
    max_tokens: int
    expected: str = ""

    async def run(self, address: str, way: str, after: int, streaming: bool) -> str:
        """As `TokenCase.run`; leaving is one way here, the client's own."""
        client = TritonClient(address)
        request = GenerationRequest(
            text_input=self.prompt, max_tokens=self.max_tokens, top_k=1, stream=streaming
        )
        text, number = "", 0
        async with aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                text += chunk.text
                number += 1
                if number >= after and way != "stays":
                    break
        await client.close()
        return text

    def is_answered_by(self, text: str, left: bool) -> bool:
        """Say whether `text` is that of the lone run, or as far as it had come."""
        return self.expected.startswith(text) if left else text == self.expected


Case = TokenCase | TextCase


def token_case(rng: random.Random) -> TokenCase:
    """Return a random request whose answer is the same every time."""
    length = rng.choice([1, 5, 20, 60, 200, 700])
    prompt = [rng.randrange(VOCAB_SIZE) for _ in range(length)]
    if rng.random() < 1 / 3:
        prompt = SHARED_PREFIX + prompt
    values: dict[str, Any] = {"request_output_len": rng.randint(1, 96)}
    beam_width = 1
    match rng.choice(["greedy", "greedy", "greedy", "seeded", "beams"]):
        case "seeded":
            values["seed"] = np.uint64(rng.getrandbits(32))
            values["temperature"] = rng.choice([0.5, 1.0, 1.7])
            values["runtime_top_k"] = rng.choice([0, 3, 40])
            values["runtime_top_p"] = rng.choice([0.5, 0.9, 1.0])
        case "beams":
            beam_width = rng.choice([2, 3, 4])
            values["beam_width"] = beam_width
            values["len_penalty"] = rng.choice([0.0, 1.0, 1.5])
            values["early_stopping"] = rng.choice([0, 1, 2])
    more = {
        "repetition_penalty": rng.choice([0.8, 1.2]),
        "frequency_penalty": 0.3,
        "no_repeat_ngram_size": 3,
        "min_tokens": 5,
        "return_log_probs": True,
        "return_perf_metrics": True,
        "end_id": rng.randrange(VOCAB_SIZE),
        "bad_words_list": _words(rng),
        "stop_words_list": _words(rng),
        "embedding_bias": np.array([[rng.random() for _ in range(VOCAB_SIZE)]], np.float32),
    }
    values |= {name: value for name, value in more.items() if rng.random() < 0.15}
    inputs = {"input_ids": np.array([prompt], np.int32), "input_lengths": _scalar(len(prompt))}
    return TokenCase(inputs | {name: _scalar(value) for name, value in values.items()}, beam_width)


def text_case(rng: random.Random) -> TextCase:
    """Return a random text to continue."""
    words = ["the", "wind", "from", "west", "zephyr", "blows", "softly", "over", "a", "sea"]
    prompt = " ".join(rng.choice(words) for _ in range(rng.randint(1, 40)))
    return TextCase(prompt, rng.randint(1, 96))


@dataclass
class Traffic:
    """What has happened so far."""

    cases: list[Case]
    address: str
    ends_at: float
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    async def worker(self, rng: random.Random) -> None:
        """Send one request after the other until the time is over."""
        while time.monotonic() < self.ends_at:
            number = rng.randrange(len(self.cases))
            case = self.cases[number]
            way = rng.choices(list(WAYS), list(WAYS.values()))[0]
            after, streaming = rng.randint(1, 20), rng.random() < 0.7
            if rng.random() < 0.03:
                await asyncio.sleep(rng.random())
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await case.run(self.address, way, after, streaming)
            except Exception as error:
                self._fail(f"lost: case {number} that {way} after {after}: {error!r}")
                continue
            self.counts[way] += 1
            self.counts["text" if isinstance(case, TextCase) else "tokens"] += 1
            if not case.is_answered_by(answer, left=way != "stays"):  # type: ignore[arg-type]
                self._fail(f"mixed up: case {number} that {way}: {answer} is not {case.expected}")

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        print(text[:1000], flush=True)


async def soak(server: TritonServer, arguments: argparse.Namespace) -> bool:
    """Run the traffic; returns whether all was well."""
    rng = random.Random(arguments.seed)  # noqa: S311
    cases: list[Case] = [token_case(rng) for _ in range(arguments.cases)]
    cases += [text_case(rng) for _ in range(arguments.cases // 4)]
    for case in cases:
        case.expected = await case.run(server.grpc_address, "stays", 0, streaming=False)
    print(f"{len(cases)} requests answered alone", flush=True)
    processes = family(server.pid)
    started = time.monotonic()
    traffic = Traffic(cases, server.grpc_address, started + 60 * arguments.minutes)
    watch = asyncio.create_task(watch_memory(server, traffic, started), name="memory")
    async with asyncio.TaskGroup() as workers:
        for number in range(arguments.concurrency):
            workers.create_task(traffic.worker(random.Random(number)))  # noqa: S311
    grown = await watch
    print(f"requests: {dict(traffic.counts)}; failures: {len(traffic.failures)}")
    print("memory at the end over after a quarter of the time: ", grown)
    alive = family(server.pid) == processes
    print(f"the same processes as at the start: {'yes' if alive else 'NO'}")
    left = await asyncio.to_thread(left_behind, server.metrics_url)
    print(f"no request under way, every KV cache block free: {left or 'yes'}")
    return alive and not left and not traffic.failures and max(grown.values()) < MOST_GROWTH


async def watch_memory(server: TritonServer, traffic: Traffic, started: float) -> dict[str, float]:
    """Print a line a tenth of the time; returns by how much each process has grown."""
    duration = traffic.ends_at - started
    await asyncio.sleep(duration * WARM_UP_SHARE)
    first = resident_mib(server)
    while True:
        last = resident_mib(server)
        seconds, count = time.monotonic() - started, sum(traffic.counts[way] for way in WAYS)
        sizes = ", ".join(f"{name} {size:.0f}" for name, size in last.items())
        print(f"{seconds:5.0f} s: {count} requests; resident MiB: {sizes}", flush=True)
        if time.monotonic() >= traffic.ends_at - 1:
            return {name: round(last[name] / first[name], 3) for name in last}
        await asyncio.sleep(min(duration / 10, max(0, traffic.ends_at - time.monotonic())))


def resident_mib(server: TritonServer) -> dict[str, float]:
    """Return the memory of tritonserver and of each model's stub."""
    return {each.name: each.rss() / MIB for each in family(server.pid)}


async def _one_call(
    inputs: dict[str, Array], request_id: str
) -> AsyncGenerator[dict[str, Any], None]:
    tensors = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, list(array.shape), TYPES[array.dtype.name])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    yield {"model_name": "tensorrt_llm", "inputs": tensors, "request_id": request_id}


def _stop_call(request_id: str) -> AsyncGenerator[dict[str, Any], None]:
    nothing = {name: _scalar(1) for name in ("input_ids", "input_lengths", "request_output_len")}
    return _one_call(nothing | {"stop": np.array([[True]])}, request_id)


def _beams(result: Any) -> list[list[int]]:
    ids, lengths = result.as_numpy("output_ids")[0], result.as_numpy("sequence_length")[0]
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def _scalar(value: Any) -> Array:
    """Return [1, 1] of the type that the tensor has; arrays as they are."""
    if isinstance(value, np.ndarray):
        return value
    dtypes = {bool: np.bool_, int: np.int32, float: np.float32, np.uint64: np.uint64}
    return np.array([[value]], dtype=dtypes[type(value)])


def _words(rng: random.Random) -> Array:
    ids = [rng.randrange(VOCAB_SIZE) for _ in range(3)]
    return np.array([[ids, [1, 3, -1]]], np.int32)


def repository(directory: Path) -> Path:
    """Write the model repository, with a cache so small that it is soon used all over."""
    made = assemble_reference(load_catalog()[DEMO_MODEL], DEMO, directory / "model_repository")
    made.set_parameters("tensorrt_llm", {"max_tokens_in_paged_kv_cache": str(CACHE_TOKENS)})
    return made.path


def main() -> int:
    """Serve the demo checkpoint, send the traffic; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--concurrency", type=int, default=24)
    parser.add_argument("--cases", type=int, default=200, help="different requests to the engine")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="aeolus-soak-") as directory,
        TritonServer(repository(Path(directory)), Path(directory), free_ports()) as server,
    ):
        server.wait_until_ready(120)
        good = asyncio.run(soak(server, arguments))
        log = server.log_path.read_text(errors="replace")
        errors = [line for line in log.splitlines() if line.startswith("E")]
        print(*errors[-20:], sep="\n")
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
