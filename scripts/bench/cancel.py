"""Leave requests before their end, under load, and measure how soon the engine stops.

Every route, streamed and plain. The time is from the closing of the connection to the engine's last
word on the request, as the shim logs it. At the end nothing may be left in the shim or in any of
Triton's four models, and the requests that stayed must have been answered whole.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from scripts.bench.service import Service, running_service

LIMIT_MILLISECONDS = 250
QUESTION = {"role": "user", "content": "What is a zephyr?"}
LONG: dict[str, Any] = {"max_new_tokens": 3000, "min_new_tokens": 3000}
CHAT = {"messages": [QUESTION]} | LONG
TEXT = {"prompt": "A zephyr is"} | LONG
ZEPHYR = {"user_message": QUESTION["content"], "max_new_tokens": 3000, "temperature": 2.0}
OPENAI = {"model": "zephyr-7b-beta", "max_tokens": 3000, "min_new_tokens": 3000}


@dataclass(frozen=True, slots=True)
class Case:
    """A request that runs for long."""

    path: str
    body: dict[str, Any]
    accept: str = "*/*"

    @property
    def name(self) -> str:
        """What the table calls it."""
        form = "streamed" if self.body.get("stream") else "plain"
        kind = "" if self.accept == "*/*" else f", {self.accept.split('/')[1]}"
        return f"{self.path} {form}{kind}"

    def message(self, host: str, request_id: str) -> bytes:
        """Return the whole HTTP request."""
        body = json.dumps(self.body).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {host}\r\naccept: {self.accept}\r\n"
            f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _cases() -> Iterator[Case]:
    for path in (
        "/predict",
        "/development/predict",
        "/production/predict",
        "/environments/any/predict",
        "/deployment/any/predict",
        "/model_versions/stablelm-zephyr-3b/predict",
        "/v1/models/stablelm-zephyr-3b:predict",
    ):
        yield Case(path, CHAT | {"stream": True})
        yield Case(path, CHAT | {"stream": False})
    yield Case("/predict", CHAT | {"stream": True}, "text/event-stream")
    yield Case("/predict", CHAT | {"stream": True}, "application/json")
    yield Case("/model_versions/mistral-7b/predict", TEXT | {"stream": False})
    for stream in (True, False):
        yield Case("/v1/chat/completions", OPENAI | {"messages": [QUESTION], "stream": stream})
        yield Case("/v1/completions", OPENAI | {"prompt": "A zephyr is", "n": 2, "stream": stream})
    for route in ("python", "system-message", "structured-code-doc"):
        yield Case(f"/zephyr/{route}", ZEPHYR)
    code = {"code": "a = 1", "max_new_tokens": 3000, "temperature": 2.0}
    yield Case("/zephyr/code-doc", code)
    yield Case("/zephyr/raw", {"user_message": QUESTION["content"]})


async def leave(service: Service, case: Case, request_id: str) -> float:
    """Send a request and close its connection a moment later; returns when, as seconds of Unix."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(case.message(address.netloc, request_id))
    await writer.drain()
    if case.body.get("stream") and case.accept != "application/json":
        await reader.read(1)
    await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - a moment, no secret
    left_at = time.time()
    writer.transport.abort()
    return left_at


async def stay(service: Service, session: aiohttp.ClientSession, done: asyncio.Event) -> int:
    """Keep one stream running after another; returns how many were answered whole.

    Raises:
        RuntimeError: one of them was not.
    """
    whole = 0
    body = {"messages": [QUESTION], "stream": True, "do_sample": False}
    while not done.is_set():
        headers = {"accept": "text/event-stream"}
        async with session.post(f"{service.url}/predict", json=body, headers=headers) as reply:
            last = (await reply.text()).strip().split("\n\n")[-1]
        if '"finish_reason": "stop"' not in last:
            raise RuntimeError(f"a stream that nobody left ended with {last}")
        whole += 1
    return whole


async def measure(service: Service, count: int, leavers: int, stayers: int) -> None:
    """Print how soon each kind of request was stopped; ends the program if that took too long."""
    random.seed(0)
    cases = list(_cases())
    done = asyncio.Event()

    async def leave_all(numbers: Iterator[int]) -> dict[str, tuple[Case, float]]:
        left: dict[str, tuple[Case, float]] = {}

        async def leaver() -> None:
            for number in numbers:
                case, request_id = cases[number % len(cases)], f"leave-{number}"
                left[request_id] = case, await leave(service, case, request_id)

        await asyncio.gather(*(leaver() for _ in range(leavers)))
        return left

    async with aiohttp.ClientSession() as session:
        staying = asyncio.gather(*(stay(service, session, done) for _ in range(stayers)))
        await leave_all(iter(range(-len(cases), 0)))  # once each, to warm up
        left = await leave_all(iter(range(count)))
        done.set()
        whole = sum(await staying)
    leaked = service.leaked()
    stopped_at = _stops(service.log_path)
    times = {
        request_id: 1000 * (stopped_at[request_id] - left_at)
        for request_id, (_, left_at) in left.items()
        if request_id in stopped_at
    }
    kinds = Counter(case.name for case, _ in left.values())
    print(f"{'':<62}{'left':>5}{'stopped':>8}{'p50':>7}{'max':>7}   (ms)")
    for name, number in kinds.items():
        mine = [each for key, each in times.items() if left[key][0].name == name]
        shown = f"{np.median(mine):>7.0f}{max(mine):>7.0f}" if mine else ""
        print(f"{name:<62}{number:>5}{len(mine):>8}{shown}")
    p50, p99 = np.percentile(list(times.values()), [50, 99])
    print(
        f"{len(left)} left, {len(times)} while they ran; stopped in {p50:.0f} ms (p50), "
        f"{p99:.0f} ms (p99), {max(times.values()):.0f} ms at most; "
        f"{whole} streams beside them whole; leaked: {leaked or 'nothing'}"
    )
    if p99 > LIMIT_MILLISECONDS or leaked:
        raise SystemExit(f"more than {LIMIT_MILLISECONDS} ms, or something is left")


def _stops(log_path: Path) -> dict[str, float]:
    """Return when each request was stopped; of several sequences, the last one."""
    stops: dict[str, float] = {}
    for text in log_path.read_text().splitlines():
        if "was stopped in" in text:
            line = json.loads(text)
            stopped_at = datetime.fromisoformat(line["time"]).timestamp()
            stops[line["request_id"]] = max(stopped_at, stops.get(line["request_id"], 0.0))
    return stops


def main() -> None:
    """Serve, leave, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="requests to leave")
    parser.add_argument("--leavers", type=int, default=8, help="of them at once")
    parser.add_argument("--stayers", type=int, default=8, help="streams that run beside them")
    arguments = parser.parse_args()
    with running_service(Path(".run/leave/shim.log")) as service:
        asyncio.run(measure(service, arguments.count, arguments.leavers, arguments.stayers))


if __name__ == "__main__":
    main()
