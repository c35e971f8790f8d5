"""What the engine and its machine do, read once a second from the service's own routes."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from shim.pages.chat.service import Service, authorization

TOKENS = "aeolus_completion_tokens_total"
RUNNING = "aeolus_requests_running"
WAITING = "aeolus_requests_waiting"
KV_BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
KV_BLOCK_TYPE = "kv_cache_block_type"
NAMES = (TOKENS, RUNNING, WAITING, KV_BLOCKS)
GPU_PATH = "/zephyr/ws/gpu-stats"
TRITON_SECONDS = 2.0
RETRY_SECONDS = 5.0
CPU_FILE = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class EngineSample:
    """The state at one moment; None where it cannot be read."""

    tokens_per_second: float
    running: int
    waiting: int
    kv_cache_percent: float | None
    cpu_percent: float | None
    unavailable: tuple[str, ...]
    """Models that no Triton serves now."""


class EngineSampler:
    """Reads the service's metrics, and those of the Tritons whose addresses are known."""

    def __init__(self, service: Service, triton_metrics: Iterable[str]):
        """Take `host:port` of the metrics of each Triton."""
        self._service = service
        self._triton_metrics = list(triton_metrics)
        self._tokens: tuple[float, float] | None = None
        self._cpu: tuple[float, float] | None = None

    async def sample(self) -> EngineSample:
        """Return the state now; rates are since the last call.

        Raises:
            ServiceProblemError: the service does not answer.
        """
        metrics, ready, kv_cache = await asyncio.gather(
            self._service.get("/metrics"), self._service.get("/health/ready"), self._kv_cache()
        )
        samples = _samples(metrics.text)
        unavailable = ready.json().get("unavailable", []) if ready.status_code == 200 else None
        return EngineSample(
            self._rate(_sum(samples, TOKENS)),
            int(_sum(samples, RUNNING)),
            int(_sum(samples, WAITING)),
            kv_cache,
            self._cpu_percent(),
            tuple(["every model"] if unavailable is None else unavailable),
        )

    def _rate(self, tokens: float) -> float:
        now = time.monotonic()
        before, self._tokens = self._tokens, (now, tokens)
        return 0.0 if before is None else (tokens - before[1]) / max(now - before[0], 1e-3)

    async def _kv_cache(self) -> float | None:
        """Return the percentage of the KV cache's blocks that are in use, of all Tritons."""
        async with httpx.AsyncClient(timeout=TRITON_SECONDS, trust_env=False) as client:
            replies = await asyncio.gather(
                *(client.get(f"http://{address}/metrics") for address in self._triton_metrics),
                return_exceptions=True,
            )
        samples = [
            sample
            for reply in replies
            if isinstance(reply, httpx.Response)
            for sample in _samples(reply.text)
        ]
        most = _sum(samples, KV_BLOCKS, "max")
        return 100 * _sum(samples, KV_BLOCKS, "used") / most if most else None

    def _cpu_percent(self) -> float | None:
        """Return how busy the machine's CPUs were since the last call."""
        try:
            fields = [float(each) for each in CPU_FILE.read_text().split("\n", 1)[0].split()[1:9]]
        except OSError:
            return None
        total, idle = sum(fields), fields[3] + fields[4]
        before, self._cpu = self._cpu, (total, idle)
        if before is None or total == before[0]:
            return None
        return 100 * (1 - (idle - before[1]) / (total - before[0]))


class GpuWatch:
    """The last message of the WebSocket of GPU statistics."""

    def __init__(self, service: Service, api_key: str):
        """Connect and stay connected until `close`."""
        self.gpus: list[dict[str, Any]] = []
        self._service = service
        self._api_key = api_key
        self._task = asyncio.create_task(self._watch(), name="GPU statistics of the chat page")

    def close(self) -> None:
        """Disconnect."""
        self._task.cancel()

    async def _watch(self) -> None:
        address = self._service.address
        while True:
            with contextlib.suppress(OSError, WebSocketException):
                async with connect(
                    address.url.replace("http", "ws", 1) + GPU_PATH,
                    additional_headers=authorization(self._api_key),
                    ssl=address.tls() or None,
                    proxy=None,
                ) as socket:
                    async for message in socket:
                        self.gpus = json.loads(message)["gpus"]
            self.gpus = []
            await asyncio.sleep(RETRY_SECONDS)


def _samples(text: str) -> list[Sample]:
    """Return the values of `NAMES`; to parse the others too would take ten times as long."""
    lines = [line for line in text.splitlines() if line.startswith(NAMES)]
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return [sample for family in families for sample in family.samples]


def _sum(samples: list[Sample], name: str, block_type: str | None = None) -> float:
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and sample.labels.get(KV_BLOCK_TYPE) == block_type
    )
