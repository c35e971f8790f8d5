"""A rank other than the first, as the engine's process sees it: a child process."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from multiprocessing.connection import Pipe
from typing import Any

from aeolus_contract.interpreter import environment, interpreter
from engine_step.interface import RankLostError
from reference_engine.model.checkpoint import CheckpointError
from reference_engine.ranks.rank import Call, Start

MODULE = "reference_engine.ranks.worker"
EXIT_SECONDS = 2


class Follower:
    """Starts the process of a rank, tells it what to do and notices when it ends.

    To be made by the thread that uses the model: Linux ends the process with that thread.
    """

    def __init__(self, start: Start, on_lost: Callable[[RankLostError], None]) -> None:
        """Start the process; it begins to load.

        Args:
            start: what it is to load.
            on_lost: called from another thread if the process ends before `close`.
        """
        self._name = f"tensor parallel rank {start.rank.index}"
        self._on_lost = on_lost
        self._closing = False
        self._connection, other_end = Pipe()
        with other_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [interpreter(), "-m", MODULE, str(other_end.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[other_end.fileno()],
                env=environment(),
            )
        self._connection.send(start)
        self._watcher = threading.Thread(target=self._watch, name=self._name, daemon=True)
        self._watcher.start()

    def wait_for_answer(self) -> None:
        """Return when the rank has loaded its share; the second time, when it is connected.

        Raises:
            CheckpointError: it could not load it.
            RankLostError: it ended.
        """
        try:
            problem: str | None = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self.lost() or RankLostError(f"{self._name}: {error}") from error
        if problem is not None:
            raise CheckpointError(f"{self._name}: {problem}")

    def call(self, method: str, *arguments: Any) -> None:
        """Let the rank call this method of its `ModelRunner`; returns at once.

        Raises:
            OSError: the process has ended.
        """
        self._connection.send(Call(method, arguments))

    def lost(self) -> RankLostError | None:
        """Return how the process has ended, if it has, or does within a moment."""
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "has failed"
        return RankLostError(
            f"{self._name} {how}; all ranks start again: send the request once more"
        )

    def close(self) -> None:
        """End the process; it has nothing to save."""
        self._closing = True
        self._process.kill()
        self._watcher.join()
        self._connection.close()

    def _watch(self) -> None:
        self._process.wait()
        if not self._closing and (error := self.lost()):
            self._on_lost(error)
