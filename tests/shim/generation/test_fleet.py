"""One shim in front of many Tritons: models of their own, and replicas of one model.

`make fleet` runs it with a minute of load; FLEET_SECONDS is how long each load lasts.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from catalog import load_catalog
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.metrics import metric
from support.null_repository import null_repository
from support.serving import serve_shim

pytestmark = pytest.mark.server

SECONDS = float(os.environ.get("FLEET_SECONDS", "6"))
START_SECONDS = 300
TIMEOUT = 60
TOKENS_PER_SECOND = 200
CLIENTS_PER_MODEL = 3
MODELS = list(load_catalog())


@contextmanager
def tritons(directory: Path, number: int) -> Iterator[list[TritonServer]]:
    """Run so many tritonservers, each with the null engine."""
    models = null_repository(directory / "models", TOKENS_PER_SECOND).path
    with ExitStack() as stack:
        servers = [
            stack.enter_context(TritonServer(models, directory / str(each), free_ports()))
            for each in range(number)
        ]
        for each in servers:
            each.wait_until_ready(START_SECONDS)
        yield servers


def ask(url: str, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=TIMEOUT)
    return reply.status_code


def load(url: str, models: list[str], clients: int, seconds: float) -> Counter[tuple[str, int]]:
    """Ask for so long, each client one question after the other; count models and statuses."""
    statuses: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def client(model: str) -> None:
        while time.monotonic() < end:
            status = ask(url, model)
            with lock:
                statuses[model, status] += 1

    threads = [
        threading.Thread(target=client, args=[model], name=f"client of {model}")
        for model in models
        for _ in range(clients)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return statuses


def report(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{line}")


def wait_until_all_serve(url: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while (reply := httpx.get(f"{url}/health/ready", timeout=TIMEOUT)).json() != {
        "status": "ready"
    }:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.05)


def test_a_model_whose_triton_is_killed_is_down_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tritons(tmp_path, len(MODELS)) as servers:
        addresses = {name: [each.grpc_address] for name, each in zip(MODELS, servers, strict=True)}
        with serve_shim("127.0.0.1:1", MODELS, model_addresses=addresses) as url:
            wait_until_all_serve(url)
            assert {ask(url, name) for name in MODELS} == {200}
            killed, *others = MODELS
            killer = threading.Timer(SECONDS / 3, os.kill, args=[servers[0].pid, signal.SIGKILL])
            killer.start()
            statuses = load(url, MODELS, CLIENTS_PER_MODEL, SECONDS)
            killer.join()
            report(capsys, f"five models, one killed, {SECONDS:.0f} s: {dict(statuses)}")
            assert {model for model, status in statuses if status != 200} == {killed}
            assert all(statuses[name, 200] > 0 for name in others)
            ready = httpx.get(f"{url}/health/ready", timeout=TIMEOUT)
            assert ready.status_code == 200
            assert ready.json()["unavailable"] == [killed]
            assert ask(url, killed) == 503
            loaded = {
                name: httpx.get(f"{url}/v1/models/{name}/loaded", timeout=TIMEOUT).status_code
                for name in MODELS
            }
            assert loaded == dict.fromkeys(others, 200) | {killed: 503}
            by_host = httpx.post(
                f"{url}/predict",
                json={"prompt": "hi"},  # the first model is Llama 2 70B
                headers={"host": f"model-{killed}.example.org"},
                timeout=TIMEOUT,
            )
            assert by_host.status_code == 503
            assert by_host.headers["retry-after"]
            servers[0].stop()
            servers[0].start()
            servers[0].wait_until_ready(START_SECONDS)
            wait_until_all_serve(url)
            assert ask(url, killed) == 200


def test_three_replicas_share_the_load_within_a_tenth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tritons(tmp_path, 3) as servers:
        addresses = ",".join(each.grpc_address for each in servers)
        with serve_shim(addresses, MODELS[:1]) as url:
            wait_until_all_serve(url)
            load(url, MODELS[:1], 9, SECONDS)
            served = [
                metric(each.metrics_url, "nv_inference_request_success_total", model="ensemble")
                for each in servers
            ]
            report(capsys, f"three replicas, {SECONDS:.0f} s: {served} requests")
            mean = sum(served) / 3
            assert all(abs(each - mean) <= 0.1 * mean for each in served)
