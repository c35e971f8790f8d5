"""Starts a tritonserver again that has ended or lost a process."""

import logging
import threading
from collections.abc import Callable

from launcher.server import TritonServer

START_SECONDS = 1800.0
WATCH_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Supervisor(threading.Thread):
    """Starts a broken tritonserver again, and gives up when it does not load any more."""

    def __init__(self, triton: TritonServer, give_up: Callable[[], object] = lambda: None):
        """Watch nothing until `start`.

        Args:
            triton: the server.
            give_up: called when it does not load any more; `failure` says why.
        """
        super().__init__(name="triton-supervisor", daemon=True)
        self.failure: Exception | None = None
        self._triton = triton
        self._give_up = give_up
        self._stopping = threading.Event()

    def run(self) -> None:
        """Watch until `stop`."""
        while not self._stopping.wait(WATCH_SECONDS):
            failure = self._triton.failure
            if failure is None:
                continue
            logger.warning("%s; starting tritonserver again", failure)
            try:
                self._triton.stop(at_once=True)
                self._triton.start()
                self._triton.wait_until_ready(START_SECONDS)
                logger.warning("tritonserver is ready again")
            except Exception as error:
                if not self._stopping.is_set():
                    self.failure = error
                    self._give_up()
                return

    def stop(self, at_once: bool = False) -> None:
        """Let the server end without starting it again.

        Args:
            at_once: give requests that run no time to end.
        """
        self._stopping.set()
        self._triton.stop(at_once)
        self.join()
        self._triton.stop(at_once)  # in case it was being started again just then
