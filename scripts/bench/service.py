"""A tritonserver, or the whole service, on free ports for as long as a context lasts."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from launcher.ports import TritonPorts, free_ports
from launcher.processes import family
from launcher.server import TritonServer
from scripts.bench import leaks as metrics

MIB = 1 << 20
TRITON_START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Service:
    """A running `python -m launcher`."""

    url: str
    ports: TritonPorts
    pid: int
    log_path: Path
    """What the shim logs: a JSON object a line."""

    @property
    def grpc_address(self) -> str:
        """`host:port` of Triton's gRPC service."""
        return f"{self.ports.local_host}:{self.ports.grpc}"

    def memory(self) -> dict[str, float]:
        """Return the MiB that each process holds, shared pages counted in part (PSS)."""
        return {
            "shim" if each.pid == self.pid else each.name: each.pss() / MIB
            for each in family(self.pid)
        }

    def leaked(self) -> dict[str, float]:
        """Return what of requests is still there, in the shim and in Triton's models.

        As `metrics.leaked` does.
        """
        triton = f"http://{self.ports.local_host}:{self.ports.metrics}/metrics"
        return metrics.leaked(f"{self.url}/metrics", triton)


@contextmanager
def running_triton(model_repository: Path, run_directory: Path) -> Iterator[TritonServer]:
    """Run a tritonserver that is ready; its log and backends go into `run_directory`.

    Raises:
        TritonStartError: a model does not load.
        InstallationError: this machine has no usable tritonserver.
    """
    with TritonServer(model_repository, run_directory, free_ports()) as server:
        server.wait_until_ready(TRITON_START_SECONDS)
        yield server


def serve_command(port: int, ports: TritonPorts, *options: str) -> list[str]:
    """Return the arguments that start `python -m launcher`, the shim at `port`."""
    return [
        *(sys.executable, "-m", "launcher", "--port", str(port)),
        *("--triton-grpc-port", str(ports.grpc), "--triton-http-port", str(ports.http)),
        *("--triton-metrics-port", str(ports.metrics), *options),
    ]


@contextmanager
def running_service(log_path: Path, *options: str, **settings: str) -> Iterator[Service]:
    """Serve on free ports until the end of the context.

    Args:
        log_path: file for the shim's log.
        options: further options of `python -m launcher`.
        settings: values of the shim's settings, by their names in lower case.

    Raises:
        RuntimeError: it did not start.
    """
    ports = free_ports()
    command = serve_command(free_ports().http, ports, *options)
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


@contextmanager
def running_shim(
    triton_address: str, model: str, requests: int, log_path: Path
) -> Iterator[tuple[int, str]]:
    """Run a shim that serves so many requests of a model at once; yields its process and URL.

    Raises:
        RuntimeError: it did not start.
    """
    port = free_ports().http
    settings = {
        "PORT": str(port),
        "TRITON_ADDRESSES": triton_address,
        "MODELS": json.dumps({model: "ensemble"}),
        "MAX_RUNNING": str(requests),
    }
    environment = os.environ | {f"AEOLUS_{name}": value for name, value in settings.items()}
    url = f"http://127.0.0.1:{port}"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "shim"], stdout=log, stderr=log, env=environment
        ) as process,
    ):
        try:
            while not _is_ready(url):
                if process.poll() is not None:
                    raise RuntimeError(f"the shim did not start: {log_path.read_text()}")
                time.sleep(0.1)
            yield process.pid, url
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    """Say whether a shim answers and has found its Triton."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=10) as reply:  # noqa: S310
            return bool(reply.status == HTTPStatus.OK)
    except OSError:
        return False
