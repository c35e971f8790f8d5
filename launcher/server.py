"""A tritonserver process as an object: start, wait until ready, stop."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from launcher.command import HOST, triton_command
from launcher.installation import find_installation
from launcher.ports import TritonPorts
from launcher.processes import Process, family

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the Python backend keeps its regions
STOP_GRACE_SECONDS = 15.0
KILL_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
# The log writes a line break inside a message as the two characters \\n; what follows the first
# is the Python traceback.
MODEL_FAILURE = re.compile(
    r"failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.*?)(?:\\n|\"$|$)", re.MULTILINE
)
LOGGED_ERROR = re.compile(r"^(?:E\d{4} .*\] |error: )(?P<reason>.*)$", re.MULTILINE)


class TritonStartError(RuntimeError):
    """The server ended before it was ready; the text names the failing model and the reason."""


class TritonServer:
    """One tritonserver on loopback, its log in a file, its shared memory under its own prefix."""

    def __init__(
        self, model_repository: Path, run_directory: Path, ports: TritonPorts, world_size: int = 1
    ):
        """Describe a server; nothing runs until `start`.

        Args:
            model_repository: the directory to serve.
            run_directory: where its log and its backends go (created if missing).
            ports: where it listens.
            world_size: tensor parallel ranks of the engine in it; one server runs for each.
        """
        self.ports = ports
        self.log_path = run_directory / "triton.log"
        self._model_repository = model_repository.resolve()
        self._run_directory = run_directory
        self.shared_memory_prefix = f"aeolus_{uuid.uuid4().hex[:12]}_"
        self._world_size = world_size
        self._process: subprocess.Popen[bytes] | None = None
        self._stubs: list[Process] = []

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC service."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP service."""
        return f"http://{HOST}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        """The running server's process id, which is also that of its process group."""
        assert self._process is not None, "nothing runs"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def failure(self) -> str | None:
        """What has ended although nobody asked for it; none while the server is whole.

        A tritonserver whose stub has died says that it is ready, and answers no request.
        """
        if not self.is_alive:
            return "tritonserver has ended"
        lost = [each.name for each in self._stubs if not each.is_running]
        return f"the process of model {lost[0]!r} has ended" if lost else None

    def start(self) -> None:
        """Start the process; call from a thread that outlives the server (see `_die_with_parent`).

        Raises:
            InstallationError: this machine has no usable tritonserver.
        """
        self._run_directory.mkdir(parents=True, exist_ok=True)
        installation = find_installation(self._run_directory)
        command = triton_command(
            installation,
            self._model_repository,
            self.ports,
            self.shared_memory_prefix,
            exit_timeout_seconds=int(STOP_GRACE_SECONDS) - 5,
            world_size=self._world_size,
        )
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=installation.environment,
                # A group of its own: Ctrl-C in a terminal reaches us first, and stopping
                # the group reaches the backend's stub processes too. A session of its own would
                # do as well, but Linux gives each session a share of the processors
                # (sched_autogroup), and the shim would wait for its turn behind the engine.
                process_group=0,
                preexec_fn=_die_with_parent,
            )

    def wait_until_ready(
        self, timeout_seconds: float, on_wait: Callable[[float], None] = lambda _: None
    ) -> None:
        """Return when every model is loaded and served.

        Args:
            timeout_seconds: how long to wait.
            on_wait: called about once a second with the seconds waited so far.

        Raises:
            TritonStartError: the server ended, or was not ready in time. It is stopped then.
        """
        started = time.monotonic()
        next_report = 1.0
        while not self._is_ready():
            waited = time.monotonic() - started
            if not self.is_alive:
                self.stop()
                raise TritonStartError(f"tritonserver did not start: {self._reason_of_failure()}")
            if waited > timeout_seconds:
                self.stop()
                raise TritonStartError(
                    f"tritonserver was not ready after {timeout_seconds:.0f} s; see {self.log_path}"
                )
            if waited >= next_report:
                on_wait(waited)
                next_report += 1.0
            time.sleep(0.05)
        self._stubs = [each for each in family(self.pid) if each.model]

    def stop(self, at_once: bool = False) -> None:
        """End the server and everything it started; without effect where nothing runs.

        Args:
            at_once: give requests that run no time to end.
        """
        if self._process is None:
            return
        process, self._process, self._stubs = self._process, None, []
        if process.poll() is None and not at_once:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_GRACE_SECONDS)
        process.kill()
        process.wait()
        _kill_group(process.pid)
        for region in SHARED_MEMORY.glob(f"{self.shared_memory_prefix}*"):
            region.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http_url}/v2/health/ready", timeout=2):  # noqa: S310
                return self.is_alive
        except (urllib.error.URLError, OSError):
            return False

    def _reason_of_failure(self) -> str:
        log = self.log_path.read_text(errors="replace")
        failures = {match["model"]: match["reason"] for match in MODEL_FAILURE.finditer(log)}
        if failures:
            reasons = "; ".join(f"model '{name}': {why}" for name, why in failures.items())
            return f"{reasons} (log: {self.log_path})"
        errors = "; ".join(match["reason"] for match in LOGGED_ERROR.finditer(log))
        return f"{errors or 'its log names no reason'} (log: {self.log_path})"

    def __enter__(self) -> "TritonServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _die_with_parent() -> None:
    """In the child: ask Linux for SIGTERM when the starting thread dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(group: int) -> None:
    """Kill what is left of a process group, and wait until it is gone."""
    deadline = time.monotonic() + KILL_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.02)
