"""What the ranks of a model exchange within a forward pass."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed import FileStore, ProcessGroupGloo  # type: ignore[attr-defined]

from reference_engine.ranks.share import Rank

# A rank that has ended is noticed at once; this is for one that hangs.
TIMEOUT_SECONDS = 60

# Loopback: the ranks are processes of one machine. Gloo would take the address of the host's name.
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


class Collectives:
    """One rank's connection to the others, over gloo; every call waits for all ranks.

    A call raises RuntimeError when another rank has ended, or is silent for TIMEOUT_SECONDS.
    """

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._group: Any = None

    def connect(self, rendezvous: Path) -> None:
        """Meet the other ranks.

        Args:
            rendezvous: a file that does not exist yet, the same for all ranks.
        """
        store = FileStore(str(rendezvous), self._rank.size)
        self._group = ProcessGroupGloo(
            store, self._rank.index, self._rank.size, timedelta(seconds=TIMEOUT_SECONDS)
        )

    def all_reduce(self, partial: torch.Tensor) -> torch.Tensor:
        """Return the sum of all ranks' tensors."""
        partial = partial.contiguous()
        self._group.allreduce(partial).wait()
        return partial

    def all_gather(self, part: torch.Tensor) -> torch.Tensor:
        """Return all ranks' tensors side by side in the last dimension."""
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self._rank.size)]
        self._group.allgather([parts], [part]).wait()
        return torch.cat(parts, dim=-1)
