"""Every tensor goes where the model is.

There is no GPU here. So the model is on the CPU, and what does not say where it belongs goes to
the device "meta", whose tensors hold nothing and mix with no others.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from engine_step.interface import EngineRequest
from reference_engine.model.blocks import BlockPool
from reference_engine.model.checkpoint import read_model_config
from reference_engine.model.decoder import Decoder
from reference_engine.model.hardware import CPU
from reference_engine.model.kv_cache import KVCache
from reference_engine.model.model_runner import ModelRunner
from reference_engine.model.parameters import Parameters
from reference_engine.model.weights import Region
from reference_engine.scheduler import Scheduler
from reference_engine.sequence import Sequence
from reference_engine.step_loop import StepLoop
from support.engine_harness import Oracle, Replies, request

PROMPT = list(range(50, 120))
LENGTH = 12
RANDOM_KINDS: dict[str, dict[str, Any]] = {
    "unseeded": {"top_k": 5, "top_p": 0.5},
    "without limits": {"top_p": 1.0, "temperature": 0.7},
    "seeded": {"top_k": 5, "seed": 3, "return_log_probs": True},
}
GREEDY_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "processed": {
        "embedding_bias": np.zeros(40, np.float32),
        "bad_words": [[1], [2, 3]],
        "repetition_penalty": 1.2,
        "presence_penalty": 0.1,
        "no_repeat_ngram_size": 2,
        "min_tokens": 3,
        "end_id": 7,
        "stop_words": [[9, 9]],
    },
    "beams": {
        "beam_width": 4,
        "bad_words": [[1], [2, 3]],
        "beam_search_diversity_rate": 0.1,
        "embedding_bias": np.zeros(40, np.float32),
    },
}


class Loaded:
    """Weights that were read before: safetensors itself would make them on "meta"."""

    def __init__(self, checkpoint: Path) -> None:
        self._tensors = load_file(checkpoint / "model.safetensors")

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        assert self._tensors[name].shape == shape
        tensor: torch.Tensor = self._tensors[name][region]
        return tensor


def serve_on_cpu_where_meta_is_default(
    checkpoint: Path, requests: list[EngineRequest]
) -> list[Replies]:
    config, weights = read_model_config(checkpoint), Loaded(checkpoint)
    replies = [Replies() for _ in requests]
    with torch.inference_mode(), torch.device("meta"):
        pool = BlockPool(64, 32)
        scheduler = Scheduler(16, 0, pool)
        cache = KVCache(config, pool.num_blocks, pool.block_size, torch.float32, CPU)
        decoder = Decoder(config, Parameters(weights, torch.float32, CPU), 256)
        loop = StepLoop(scheduler, ModelRunner(decoder, cache))
        for one, listener in zip(requests, replies, strict=True):
            scheduler.add(Sequence(one, listener, 256))
        while scheduler.live():
            loop.step()
    return replies


def test_nothing_is_made_where_the_model_is_not(checkpoint: Path) -> None:
    kinds = {**RANDOM_KINDS, **GREEDY_KINDS}
    requests = [request(PROMPT, LENGTH, request_id=kind, **kinds[kind]) for kind in kinds]
    replies = serve_on_cpu_where_meta_is_default(checkpoint, requests)
    outputs = {kind: each.beams() for kind, each in zip(kinds, replies, strict=True)}
    assert outputs["plain"] == Oracle(checkpoint).generate(PROMPT, LENGTH, do_sample=False)
    assert [len(outputs[kind][0]) for kind in RANDOM_KINDS] == [LENGTH] * len(RANDOM_KINDS)
    assert [len(beam) for beam in outputs["beams"]] == [LENGTH] * 4
