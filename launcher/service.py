"""The whole service as a child process, and what can be seen of it from outside."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.command import HOST
from launcher.ports import TritonPorts, free_ports

SERVE = Path(__file__).parent.parent / "scripts" / "serve.py"
KIB = 1024
SETTLE_SECONDS = 10.0
GAUGES = (
    "aeolus_requests_running",
    "aeolus_requests_waiting",
    "aeolus_postprocessing_streams",
    "nv_inference_pending_request_count",
)
ENGINE_GAUGE = "nv_trt_llm_request_metrics"
ACTIVE = 'request_type="active"'
METRIC = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
MODEL_OF_STUB = re.compile(r"/(\w+)/\d+/model\.py")


@dataclass(frozen=True, slots=True)
class Service:
    """A running `scripts/serve.py`."""

    url: str
    ports: TritonPorts
    pid: int
    log_path: Path
    """What the shim logs: a JSON object a line."""

    def memory(self) -> dict[str, float]:
        """Return the MiB that each process holds, shared pages counted in part (PSS)."""
        return {_name(pid, self.pid): _pss(pid) for pid in _family(self.pid)}

    def left_behind(self) -> dict[str, float]:
        """Return what of requests is still there when they had time to end.

        In the shim and in each of Triton's models; gauges that are 0 are left out.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while (found := self._requests()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def _requests(self) -> dict[str, float]:
        shim = _metrics(f"{self.url}/metrics")
        triton = _metrics(f"http://{HOST}:{self.ports.metrics}/metrics")
        return {
            f"{name}{{{labels}}}": value
            for (name, labels), value in [*shim.items(), *triton.items()]
            if value and (name in GAUGES or (name == ENGINE_GAUGE and ACTIVE in labels))
        }


@contextmanager
def running_service(log_path: Path, *options: str, **settings: str) -> Iterator[Service]:
    """Serve on free ports until the end of the context.

    Args:
        log_path: file for the shim's log.
        options: further options of `scripts/serve.py`.
        settings: values of the shim's settings, by their names in lower case.

    Raises:
        RuntimeError: it did not start.
    """
    ports, shim_port = free_ports(), free_ports().http
    command = [
        *(sys.executable, str(SERVE), "--port", str(shim_port)),
        *("--triton-grpc-port", str(ports.grpc), "--triton-http-port", str(ports.http)),
        *("--triton-metrics-port", str(ports.metrics), *options),
    ]
    environment = os.environ | {f"AEOLUS_{name.upper()}": each for name, each in settings.items()}
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with (
        log_path.open("w") as log,
        subprocess.Popen(  # noqa: S603 - our own script
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ready = next((line for line in process.stdout if line.startswith("ready:")), None)
            if ready is None:
                raise RuntimeError(f"the service did not start: {log_path.read_text()}")
            yield Service(ready.split()[1], ports, process.pid, log_path)
        finally:
            process.terminate()


def _metrics(url: str) -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(url) as reply:  # noqa: S310 - a URL of ours
        text = reply.read().decode()
    return {
        (each["name"], each["labels"] or ""): float(each["value"]) for each in METRIC.finditer(text)
    }


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _family(int(child))
    return found


def _name(pid: int, shim: int) -> str:
    if pid == shim:
        return "shim"
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    stub = MODEL_OF_STUB.search(command)
    return stub[1] if stub else Path(command.split()[0]).name


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / KIB
    return 0.0
