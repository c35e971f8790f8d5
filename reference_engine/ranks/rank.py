"""What every rank builds for itself, and what the leading one sends to the others."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reference_engine.config import EngineConfig
from reference_engine.model.decoder import Decoder
from reference_engine.model.kv_cache import KVCache
from reference_engine.model.model_runner import ModelRunner
from reference_engine.ranks.collectives import Collectives
from reference_engine.ranks.shard import load_shard, shape_of
from reference_engine.ranks.share import Rank


@dataclass(frozen=True, slots=True)
class Start:
    """To a following rank: load the model, answer None or what is wrong; meet, answer None."""

    config: EngineConfig
    rank: Rank
    rendezvous: Path


@dataclass(frozen=True, slots=True)
class Call:
    """To a following rank: call a method of `ModelRunner`; not answered."""

    method: str
    arguments: tuple[Any, ...]


def load_rank(config: EngineConfig, rank: Rank) -> tuple[ModelRunner, Collectives]:
    """Load one rank's share; the runner computes once its collectives are connected.

    Raises:
        CheckpointError: the checkpoint cannot be read or not be shared like this.
    """
    collectives = Collectives(rank)
    model = load_shard(config.checkpoint_dir, config.dtype, rank)
    shape = shape_of(config.shape, rank)
    cache = KVCache(shape, config.num_blocks, config.block_size, model.dtype, config.device)
    decoder = Decoder(
        model,
        config.max_seq_len,
        collectives.all_reduce,
        collectives.all_gather,
        has_int8_weights=config.has_int8_weights,
    )
    return ModelRunner(decoder, cache), collectives


def use_own_cores(rank: Rank) -> None:
    """Let the calling thread compute on this rank's share of the machine's cores."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // rank.size))
