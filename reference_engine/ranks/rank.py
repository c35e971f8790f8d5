"""What every rank, leading or following, builds for itself."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from reference_engine.model.checkpoint import read_shape
from reference_engine.model.decoder import Decoder
from reference_engine.model.hardware import CPU
from reference_engine.model.kv_cache import KVCache
from reference_engine.model.model_runner import ModelRunner
from reference_engine.ranks.collectives import Collectives
from reference_engine.ranks.shard import load_shard, shape_of
from reference_engine.ranks.share import Rank


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model that the ranks share, and the cache each has of it."""

    directory: Path
    dtype: str
    max_seq_len: int
    num_blocks: int
    block_size: int


def load_rank(spec: ModelSpec, rank: Rank) -> tuple[ModelRunner, Collectives]:
    """Load one rank's share; the runner computes once its collectives are connected.

    Raises:
        CheckpointError: the checkpoint cannot be read or not be shared like this.
    """
    collectives = Collectives(rank)
    model = load_shard(spec.directory, spec.dtype, rank)
    shape = shape_of(read_shape(spec.directory), rank)
    cache = KVCache(shape, spec.num_blocks, spec.block_size, model.dtype, CPU)
    decoder = Decoder(model, spec.max_seq_len, collectives.all_reduce, collectives.all_gather)
    return ModelRunner(decoder, cache), collectives


def use_own_cores(rank: Rank) -> None:
    """Let the calling thread compute on this rank's share of the machine's cores."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // rank.size))
