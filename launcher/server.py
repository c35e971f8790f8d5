"""A tritonserver as an object: start, wait until ready, stop."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from launcher import guardian
from launcher.command import triton_command, triton_environment
from launcher.deployment import Deployment
from launcher.failures import reason_of_failed_start, reason_of_lost_rank
from launcher.installation import find_installation
from launcher.loading import Loading
from launcher.ports import TritonPorts
from launcher.processes import Process, family, processes_with

SHARED_MEMORY = Path(guardian.SHARED_MEMORY)
STOP_GRACE_SECONDS = 15.0
KILL_SECONDS = 10.0
"""Killed processes that are not gone by then hang in the kernel, for example in a driver."""
LOST_STUB_SECONDS = 1.0
LOST_RANK_SECONDS = 3.0
"""Open MPI reports a lost rank, and ends the others, within a second or two."""
LOOK_SECONDS = 0.05
SHELL_WORD = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
FAMILY = "AEOLUS_TRITON_FAMILY"
"""Environment variable that marks everything that one tritonserver has started."""


class TritonStartError(RuntimeError):
    """The server ended before it was ready; the text names the failing model and the reason."""


class TritonStopError(RuntimeError):
    """Processes of the server cannot be ended; the text names them."""


class TritonServer:
    """One tritonserver, its log in a file, its shared memory under its own prefix."""

    def __init__(
        self,
        model_repository: Path,
        run_directory: Path,
        ports: TritonPorts,
        deployment: Deployment | None = None,
    ):
        """Describe a server; nothing runs until `start`.

        Args:
            model_repository: the directory to serve.
            run_directory: where its log and its backends go (created if missing).
            ports: where it listens.
            deployment: what is in the repository; by default models of one rank.
        """
        self.ports = ports
        self.log_path = run_directory / "triton.log"
        self._model_repository = model_repository.resolve()
        self._run_directory = run_directory
        self.shared_memory_prefix = f"aeolus_{uuid.uuid4().hex[:12]}_"
        self._deployment = deployment
        self._ranks = deployment.servers if deployment else 1
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._members: dict[int, tuple[Process, str]] = {}
        """By process id: what must run, and how it is called in a message."""

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC service."""
        return f"{self.ports.local_host}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP service."""
        return f"http://{self.ports.local_host}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{self.ports.local_host}:{self.ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the tritonserver, or of the mpirun above several."""
        assert self._guardian is not None, "nothing runs"
        return self._pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def failure(self) -> str | None:
        """What has ended although nobody asked for it; None while the server is whole.

        A tritonserver whose stub has died reports that it is ready, and answers no request.
        """
        if not self.is_alive:
            return self._reason_of_end()
        if self._ranks > 1:
            self._note_members()  # other ranks may be ready later than the leader
        for process, name in self._members.values():
            if not process.is_running:
                return self._reason_of_loss(process, name)
        return None

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return the arguments that start the server, and its environment.

        Raises:
            InstallationError: this machine has no usable tritonserver.
        """
        installation = find_installation(self._run_directory)
        backends = self._without_spaces(installation.backend_directory, "backends")
        arguments = triton_command(
            replace(installation, backend_directory=backends),
            self._without_spaces(self._model_repository, "models"),
            self.ports,
            self.shared_memory_prefix,
            exit_timeout_seconds=int(STOP_GRACE_SECONDS) - 5,
            deployment=self._deployment,
        )
        return arguments, installation.environment | triton_environment(self._deployment)

    def _without_spaces(self, path: Path, name: str) -> Path:
        """Return a path that a shell takes as one word, a link to `path` where needed.

        Triton starts the stubs of its Python backend by a shell, without quoting. The link has
        the prefix of the shared-memory regions, and is removed with them.
        """
        if SHELL_WORD.fullmatch(str(path)):
            return path
        link = SHARED_MEMORY / f"{self.shared_memory_prefix}{name}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        return link

    def start(self) -> None:
        """Start the process.

        Raises:
            InstallationError: this machine has no usable tritonserver.
            TritonStartError: its program cannot be run.
        """
        self._run_directory.mkdir(parents=True, exist_ok=True)
        command, environment = self.command()
        with self.log_path.open("wb") as log:
            self._guardian = subprocess.Popen(  # noqa: S603 - our own arguments
                [
                    *(sys.executable, "-I", "-S", guardian.__file__),
                    *(str(os.getpid()), str(STOP_GRACE_SECONDS), self.shared_memory_prefix),
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment | {FAMILY: self.shared_memory_prefix},
                # A group of its own: Ctrl-C in a terminal reaches us first. A session of its own
                # would do as well, but Linux gives each session a share of the processors
                # (sched_autogroup), and the shim would wait for its turn behind the engine.
                process_group=0,
            )
        assert self._guardian.stdout is not None
        with self._guardian.stdout as output:
            self._pid = int(output.readline() or 0)

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
        loading = Loading(self.log_path)
        while not self._is_ready():
            waited = time.monotonic() - started
            if not self.is_alive:
                self.stop()
                raise TritonStartError(
                    f"tritonserver did not start: {reason_of_failed_start(self.log_path)}"
                )
            if failure := loading.failure(lambda: family(self._pid)):
                self.stop(at_once=True)
                raise TritonStartError(f"tritonserver did not start: {failure}")
            if waited > timeout_seconds:
                self.stop(at_once=True)
                raise TritonStartError(
                    f"tritonserver was not ready after {timeout_seconds:.0f} s; see {self.log_path}"
                )
            if waited >= next_report:
                on_wait(waited)
                next_report += 1.0
            time.sleep(LOOK_SECONDS)
        self._note_members()

    def stop(self, at_once: bool = False) -> None:
        """End the server and everything it started; without effect where nothing runs.

        Args:
            at_once: give requests that run no time to end.

        Raises:
            TritonStopError: something of it cannot be ended.
        """
        guarded = self._guardian
        if guarded is None:
            return
        self._members.clear()
        guarded.send_signal(signal.SIGQUIT if at_once else signal.SIGTERM)
        try:
            guarded.wait(STOP_GRACE_SECONDS + KILL_SECONDS)
        except subprocess.TimeoutExpired:
            names = [f"{each.name} ({each.pid})" for each in family(guarded.pid)]
            raise TritonStopError(f"cannot be ended: {', '.join(names)}") from None
        if guarded.returncode < 0:
            self._do_as_the_guardian()
        if self._guardian is guarded:  # not one that another thread has started meanwhile
            self._guardian = None

    def hurry(self) -> None:
        """Let a `stop` that another thread, or the interrupted code, is in end at once."""
        if self.is_alive:
            assert self._guardian is not None
            self._guardian.send_signal(signal.SIGQUIT)

    def _do_as_the_guardian(self) -> None:
        """End what a guardian has left that was itself killed."""
        deadline = time.monotonic() + KILL_SECONDS
        while left := processes_with(FAMILY, self.shared_memory_prefix):
            if time.monotonic() > deadline:
                names = [f"{each.name} ({each.pid})" for each in left]
                raise TritonStopError(f"cannot be ended: {', '.join(names)}")
            for each in left:
                each.kill()
            time.sleep(LOOK_SECONDS)
        for region in SHARED_MEMORY.glob(f"{self.shared_memory_prefix}*"):
            region.unlink(missing_ok=True)

    def _note_members(self) -> None:
        for each in family(self._pid):
            if each.pid not in self._members and (each.model or each.pid != self._pid):
                self._members[each.pid] = (each, self._name(each))

    def _name(self, process: Process) -> str:
        of_rank = "" if self._ranks == 1 else f" of rank {process.rank}"
        if process.model:
            return f"the process of model {process.model!r}{of_rank}"
        return f"{process.name}{of_rank}"

    def _reason_of_loss(self, process: Process, name: str) -> str:
        """Return what is known of a member that has ended while the main process runs."""
        is_rank = self._ranks > 1 and not process.model
        deadline = time.monotonic() + (LOST_RANK_SECONDS if is_rank else LOST_STUB_SECONDS)
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        if not self.is_alive:
            # With the main process its stubs and ranks end, and may be missed first.
            return self._reason_of_end()
        lost_rank = reason_of_lost_rank(self.log_path) if is_rank else None
        return lost_rank or f"{name} has ended"

    def _reason_of_end(self) -> str:
        """Return what is known of the end of the main process."""
        if self._guardian is None:
            return "tritonserver has ended"
        name = "tritonserver" if self._ranks == 1 else "mpirun"
        if lost := reason_of_lost_rank(self.log_path):
            return lost
        status = self._guardian.returncode
        if status < 0:
            return f"the guardian of {name} was ended by {signal.Signals(-status).name}"
        if status > 128:
            return f"{name} was ended by {signal.Signals(status - 128).name}"
        return f"{name} has ended with exit status {status}"

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http_url}/v2/health/ready", timeout=2):  # noqa: S310
                return self.is_alive
        except (urllib.error.URLError, OSError):
            return False

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
