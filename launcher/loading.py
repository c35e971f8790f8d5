"""Why a server that still loads models will never be ready."""

import time
from collections.abc import Callable
from pathlib import Path

from launcher.failures import causes, reason_of_failed_models
from launcher.processes import Process, zombies_of

LOOK_SECONDS = 0.25
OTHERS_SECONDS = 1.0
"""After one model has failed, others may fail for a reason of their own."""
DEAD_STUB_SECONDS = 3.0
"""Triton itself finds a dead stub within five seconds, and one that never started not at all."""


class Loading:
    """Watches the log and the processes of a server that loads."""

    def __init__(self, log_path: Path):
        self._log_path = log_path
        self._next_look = 0.0
        self._failed_at: float | None = None
        self._models: dict[int, str] = {}
        self._dead_since: dict[int, float] = {}

    def failure(self, running: Callable[[], list[Process]]) -> str | None:
        """Return why it will not be ready; None while it may.

        A server in which one model has failed ends only when all others are loaded, and one that
        could not start a stub waits for ever.

        Args:
            running: returns the server and what descends from it.
        """
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + LOOK_SECONDS
        if failed := reason_of_failed_models(self._log_path):
            self._failed_at = self._failed_at or now
            return failed if now - self._failed_at >= OTHERS_SECONDS else None
        return self._dead_stub(running(), now)

    def _dead_stub(self, processes: list[Process], now: float) -> str | None:
        self._models |= {each.pid: each.model for each in processes if each.model}
        servers = {each.pid for each in processes if each.name == "tritonserver"}
        dead = zombies_of(servers)
        self._dead_since = {pid: self._dead_since.get(pid, now) for pid in dead}
        for pid, since in self._dead_since.items():
            if now - since >= DEAD_STUB_SECONDS:
                if model := self._models.get(pid):
                    return (
                        f"the process of model {model!r} has ended while it loaded "
                        f"(log: {self._log_path})"
                    )
                why = "; ".join(causes(self._log_path)) or "it logs no reason"
                return f"a process of the Python backend has ended: {why} (log: {self._log_path})"
        return None
