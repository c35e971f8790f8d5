"""What every rank builds for itself, and what the leading one sends to the others."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from reference_engine.config import EngineConfig
from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.loading import load_runner
from reference_engine.model.model_runner import ModelRunner
from reference_engine.model.weights import HuggingFaceWeights
from reference_engine.ranks.collectives import Collectives
from reference_engine.ranks.converted_weights import ConvertedWeights
from reference_engine.ranks.share import Rank, check_divisible, own_config, region_of


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
    """Load one rank's share; nothing else of the weights is read.

    The runner computes once its collectives are connected.

    Raises:
        CheckpointError: the checkpoint cannot be read or not be shared like this.
    """
    model, collectives = config.model, Collectives(rank)
    _check_shareable(config, rank)
    vocabulary_part = -(-model.vocab_size // rank.size)

    def all_gather(logits: torch.Tensor) -> torch.Tensor:
        missing = vocabulary_part - logits.shape[-1]  # the last rank may have fewer
        return collectives.all_gather(functional.pad(logits, (0, missing)))

    with _open_weights(config, rank) as weights:
        runner = load_runner(
            config,
            weights,
            own=own_config(model, rank),
            region_of=partial(region_of, model=model, rank=rank),
            all_reduce=collectives.all_reduce,
            all_gather=all_gather,
        )
    return runner, collectives


def _check_shareable(config: EngineConfig, rank: Rank) -> None:
    directory, ranks = config.checkpoint_dir, config.model.num_ranks
    if ranks is not None and ranks != rank.size:
        raise CheckpointError(
            f"{directory}: was converted for {ranks} ranks, but tensor_parallel_size is {rank.size}"
        )
    try:
        check_divisible(config.model, rank.size)
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error


def _open_weights(config: EngineConfig, rank: Rank) -> HuggingFaceWeights | ConvertedWeights:
    if config.model.num_ranks is None:
        return HuggingFaceWeights(config.checkpoint_dir, is_tied=config.model.is_tied)
    return ConvertedWeights(config.checkpoint_dir, rank)


def use_own_cores(rank: Rank) -> None:
    """Let the calling thread compute on this rank's share of the machine's cores."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // rank.size))
