"""Orchestrator mode: one process hands requests to ranks that it spawns, over real MPI.

The orchestrator computes nothing. It spawns `worker_executable_path` as often as the engine has
ranks (executorImpl.cpp `initializeOrchestrator`) and sends the leader among them what it is to
open, then requests and cancellations; a thread of its own receives the responses. It has no
statistics: those are the leader's.
"""

import threading
import time
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from tensorrt_llm.standing_in.executor import Executor
from tensorrt_llm.standing_in.ranks import POLL_SECONDS
from tensorrt_llm.standing_in.table import BOUND, Response, named

LEADER = 0
NAMES: dict[type, str] = {
    kind: name
    for outer, found in BOUND.items()
    for name, kind in (
        (outer, found),
        *((f"{outer}.{each}", inner) for each, inner in vars(found).items()),
    )
    if isinstance(kind, type)
}
"""Of classes and enumerations, those within others included."""


class OrchestratedExecutor(Executor):
    """See the module; all that is checked before a request is sent is checked here, too."""

    def _open_model(self, engine: Path) -> None:
        from mpi4py import MPI

        parallel = self._config["parallel_config"]
        self._sending = threading.Lock()
        self._workers: Any = MPI.COMM_SELF.Spawn(
            parallel.orchestrator_config.worker_executable_path, maxprocs=self._world_size
        )
        config = {name: plain(each) for name, each in self._config.items()}
        del config["parallel_config"]
        self._tell("open", (str(engine), config))

    def _enqueue(self, requests: list[Any]) -> list[int]:
        self._check_usage("enqueueRequests")
        numbers = [next(self._numbers) for _ in requests]
        for number, request in zip(numbers, requests, strict=True):
            self._tell("request", (number, plain(request)))
        return numbers

    def _close_model(self) -> None:
        self._workers.Disconnect()

    def _loop(self) -> None:
        """Receive responses until the leader has ended."""
        while True:
            with self._changed:
                marked, self._marked = self._marked, set()
                for number in marked:
                    self._tell("cancel", number)
                if self._queue and not self._is_ending:  # the marker of `shutdown`
                    self._is_ending = True
                    self._tell("end", None)
            if not self._workers.iprobe(source=LEADER):
                time.sleep(POLL_SECONDS)
                continue
            found = self._workers.recv(source=LEADER)
            if found is None:
                return
            number, content, client_id = found
            with self._changed:
                response = Response(number, made(content), client_id)
                self._responses.setdefault(number, []).append(response)
                self._ready.notify()

    def _tell(self, kind: str, message: Any) -> None:
        with self._sending:
            self._workers.send((kind, message), dest=LEADER)


def plain(value: Any) -> Any:
    """Return what can be pickled of a value of the bindings: real ones have a state, too."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    name = NAMES.get(type(value))
    if name is None:
        return value
    if isinstance(value, Enum):
        return ("enum", name, value.name)
    fields = value.given() if hasattr(value, "given") else value.__dict__
    return ("fields", name, {each: plain(field) for each, field in fields.items()})


def made(value: Any) -> Any:
    """Return the value that `plain` has taken apart."""
    match value:
        case list():
            return [made(each) for each in value]
        case ("enum", str(name), str(member)):
            return named(name)[member]
        case ("fields", str(name), dict(fields)):
            given = {each: made(field) for each, field in fields.items() if field is not None}
            return named(name)(**given)
    return value


def work() -> None:
    """Be a rank: the body of what stands in for `trtllmExecutorWorker`."""
    from mpi4py import MPI

    parent: Any = MPI.Comm.Get_parent()
    ranks = MPI.COMM_WORLD
    opening = parent.recv(source=0)[1] if ranks.rank == LEADER else None
    engine, config = ranks.bcast(opening, root=LEADER)
    executor = Executor(
        model_path=engine,
        model_type=named("ModelType").DECODER_ONLY,
        executor_config=named("ExecutorConfig")(
            **{name: made(each) for name, each in config.items()}
        ),
    )
    if ranks.rank == LEADER:
        _relay(parent, executor)
    executor.shutdown()
    if ranks.rank == LEADER:
        parent.send(None, dest=0)
    parent.Disconnect()


def _relay(parent: Any, executor: Any) -> None:
    """Pass requests on and responses back until the orchestrator ends."""
    numbers: dict[int, int] = {}
    theirs: dict[int, int] = {}
    while True:
        while parent.iprobe(source=0):
            kind, message = parent.recv(source=0)
            if kind == "end":
                return
            if kind == "cancel":
                executor.cancel_request(numbers[message])
                continue
            number, request = message
            numbers[number] = executor.enqueue_request(made(request))
            theirs[numbers[number]] = number
        for response in executor.await_responses(timeout=timedelta(seconds=POLL_SECONDS)):
            content = response.error_msg if response.has_error() else plain(response.result)
            number = theirs[response.request_id]
            parent.send((number, content, response.client_id), dest=0)
