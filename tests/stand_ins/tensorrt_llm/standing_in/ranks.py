"""The ranks of leader mode, over real MPI where mpirun has started more than one.

The leader tells the followers what it has fetched and when it ends, as the executor does in
`getNewReqWithIds`; a follower computes nothing. MPI takes care of what matters here: that a process
which ends takes the others with it.
"""

import os
import threading
import time
from typing import Any

POLL_SECONDS = 0.01
"""Open MPI's own waiting takes a whole core."""


class Ranks:
    """This process among those that mpirun has started."""

    def __init__(self, expected: int) -> None:
        self._comm: Any = None
        self.rank, size = 0, 1
        if "OMPI_COMM_WORLD_SIZE" in os.environ:
            from mpi4py import MPI

            self._comm = MPI.COMM_WORLD
            self.rank, size = self._comm.Get_rank(), self._comm.Get_size()
        if size != expected:
            raise RuntimeError(
                "[TensorRT-LLM][ERROR] Assertion failed: With communicationMode kLEADER, MPI "
                "worldSize is expected to be equal to tp*pp*cp when participantIds are not "
                "specified"
            )
        self._followers = range(1, size) if self.rank == 0 else range(0)
        self._lock = threading.Lock()

    def tell(self, message: tuple[str, Any]) -> None:
        """Send the followers a message."""
        with self._lock:
            for each in self._followers:
                self._comm.send(message, dest=each)

    def follow(self, settings: str) -> None:
        """Return when the leader has ended.

        Raises:
            RuntimeError: the leader was started with other settings.
        """
        while True:
            if not self._comm.iprobe(source=0):
                time.sleep(POLL_SECONDS)
                continue
            match self._comm.recv(source=0):
                case ("settings", theirs) if theirs != settings:
                    raise RuntimeError(f"rank 0 has {theirs}, rank {self.rank} {settings}")
                case ("end", _):
                    return
