"""Guides compiled on trial, in a process with limits of time and memory, before an engine does.

An engine compiles a guide where it runs: one that never ends, or takes all memory, would be the end
of every request.
"""

import os
import signal
import subprocess
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Pipe
from pathlib import Path
from threading import Lock
from typing import Any

from aeolus_contract.interpreter import environment, interpreter
from guided_decoding.guide import Guide, GuideError

MODULE = "guided_decoding.trial_worker"
MAX_SECONDS = 10.0
MAX_BYTES = 1 << 30
START_SECONDS = 120.0
MAX_WAITING = 16
MAX_REMEMBERED = 1024


class TooManyTrialsError(RuntimeError):
    """More guides wait to be compiled than is worth waiting for; try again later."""


class Trials:
    """Compiles guides for one tokenizer, one after the other, and remembers the outcomes."""

    def __init__(
        self, tokenizer_dir: Path, max_seconds: float = MAX_SECONDS, max_bytes: int = MAX_BYTES
    ) -> None:
        """Start nothing yet: the process starts with the first guide.

        Args:
            tokenizer_dir: of a Hugging Face checkpoint.
            max_seconds: after which a guide is given up.
            max_bytes: that it may take beside the vocabulary.
        """
        self._tokenizer_dir = tokenizer_dir
        self._max_seconds, self._max_bytes = max_seconds, max_bytes
        self._thread = ThreadPoolExecutor(1, "guides-on-trial")
        self._worker: _Worker | None = None
        self._is_closed = False
        self._outcomes: OrderedDict[Guide, Guide | str] = OrderedDict()
        self._waiting = 0
        self._lock = Lock()

    def check(self, guides: Sequence[Guide]) -> "Future[list[Guide]]":
        """Return, once all guides have been compiled, what an engine is to be given for each.

        The future raises a GuideError if one of them has no grammar within the limits, and a
        TooManyTrialsError if too many wait already.
        """
        known: Future[list[Guide]] = Future()
        with self._lock:
            if self._waiting < MAX_WAITING and any(each not in self._outcomes for each in guides):
                self._waiting += 1
                return self._thread.submit(self._try_all, guides)
            try:
                known.set_result([self._known(each) for each in guides])
            except (GuideError, TooManyTrialsError) as error:
                known.set_exception(error)
        return known

    def close(self) -> None:
        """End the process; whatever waits is cancelled."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._worker is not None:
            self._worker.close()

    def _try_all(self, guides: Sequence[Guide]) -> list[Guide]:
        try:
            for guide in guides:
                if guide not in self._outcomes:
                    self._remember(guide, self._try(guide))
            return [self._known(each) for each in guides]
        finally:
            with self._lock:
                self._waiting -= 1

    def _try(self, guide: Guide) -> Guide | str:
        if self._worker is None:
            self._worker = _Worker(self._tokenizer_dir, self._max_bytes)
            if self._is_closed:
                self._worker.close()
        try:
            return self._worker.compile(guide, self._max_seconds)
        except _WorkerEndedError as error:
            self._worker.close()
            self._worker = None
            return f"{error}; make it smaller or simpler"

    def _remember(self, guide: Guide, outcome: Guide | str) -> None:
        with self._lock:
            self._outcomes[guide] = outcome
            while len(self._outcomes) > MAX_REMEMBERED:
                self._outcomes.popitem(last=False)

    def _known(self, guide: Guide) -> Guide:
        outcome = self._outcomes.get(guide)
        if outcome is None:
            raise TooManyTrialsError(
                f"{MAX_WAITING} guides wait to be compiled; send the request again later"
            )
        if isinstance(outcome, str):
            raise GuideError(f"guided_decoding_guide: {outcome}")
        return outcome


class _WorkerEndedError(Exception):
    """How it ended, as what a guide has done."""


class _Worker:
    """The child process."""

    def __init__(self, tokenizer_dir: Path, max_bytes: int) -> None:
        """Start it, and wait until it has read the vocabulary.

        Raises:
            GuideError: it cannot be read.
        """
        self._connection, other_end = Pipe()
        with other_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [
                    *(interpreter(), "-m", MODULE, str(other_end.fileno())),
                    *(str(tokenizer_dir), str(max_bytes), str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[other_end.fileno()],
                env=environment() | {"OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            problem = self._receive(START_SECONDS)
        except _WorkerEndedError as error:
            problem = f"guided decoding cannot start: its process {error}"
        if problem:
            self.close()
            raise GuideError(problem)

    def compile(self, guide: Guide, max_seconds: float) -> Guide | str:
        """Return what an engine is to be given for a guide, or why nothing is.

        Raises:
            _WorkerEndedError: the process has ended over it, or has not within the time.
        """
        self._connection.send(guide)
        outcome: Guide | str = self._receive(max_seconds)
        return outcome

    def close(self) -> None:
        """End the process; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _receive(self, max_seconds: float) -> Any:
        try:
            if not self._connection.poll(max_seconds):
                raise _WorkerEndedError(f"takes more than {max_seconds:g} s to compile and try")
            return self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait()
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise _WorkerEndedError(
                f"takes too much memory to compile, or breaks the compiler ({how})"
            ) from error
