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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from launcher.processes import family
from launcher.server import TritonServer
from scripts.bench.leaks import leaked
from scripts.bench.service import running_triton
from scripts.bench.traffic.text_case import TextCase, text_case
from scripts.bench.traffic.token_case import TokenCase, token_case

DEMO = Path(__file__).parents[2] / "demo" / "checkpoint"
DEMO_MODEL = "llama-3-8b-instruct"
CACHE_TOKENS = 8192
ANSWER_SECONDS = 120
WARM_UP_SHARE = 0.25  # of the time; until then caches fill and memory grows
MOST_GROWTH = 1.05
MIB = 1 << 20
WAYS = {"stays": 12, "stops": 3, "cancels": 3, "hangs up": 2}  # and how often

Case = TokenCase | TextCase


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
    left = await asyncio.to_thread(leaked, server.metrics_url)
    print(f"no request under way, every KV cache block free: {f'NO: {left}' if left else 'yes'}")
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
        running_triton(repository(Path(directory)), Path(directory)) as server,
    ):
        good = asyncio.run(soak(server, arguments))
        log = server.log_path.read_text(errors="replace")
        errors = [line for line in log.splitlines() if line.startswith("E")]
        print(*errors[-20:], sep="\n")
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
