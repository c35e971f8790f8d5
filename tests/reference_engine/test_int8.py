"""Weights rounded to int8: the rounded model is served, and its memory is small."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from launcher.serve import DTYPES as SERVED
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model import checkpoint as checkpoints
from reference_engine.model.hardware import AUTO, CPU
from support.engine_harness import Replies, request
from support.int8_weights import rounded
from support.tiny_models import VOCAB_SIZE, make_checkpoint

LENGTH = 24
SHARED_BY_INPUT = ("o_proj", "down_proj")
"""Projections of which each rank has some of the inputs, and scales of its own for them."""


def rounded_model(directory: Path, ranks: int) -> Any:
    """Return transformers' model with the weights that int8 stands for, in float32."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            parts = ranks if name.endswith(SHARED_BY_INPUT) else 1
            shares = module.weight.detach().chunk(parts, dim=1)
            module.weight.data = torch.cat(
                [rounded(each.bfloat16()) for each in shares], dim=1
            ).float()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stablelm-zephyr-3b", "mistral-7b", "llama-3-8b-instruct"])
@pytest.mark.parametrize("tensor_parallel_size", [1, 2])
def test_each_token_is_likely_to_the_rounded_model(
    tmp_path: Path, name: str, tensor_parallel_size: int
) -> None:
    directory = make_checkpoint(tmp_path / "checkpoint", name, torch.bfloat16)
    model = rounded_model(directory, tensor_parallel_size)
    config = EngineConfig.resolve(
        directory, max_seq_len=128, dtype="int8", tensor_parallel_size=tensor_parallel_size
    )
    engine = ReferenceEngine(config)
    numbers = random.Random(0)
    prompts = [[numbers.randrange(VOCAB_SIZE) for _ in range(length)] for length in (1, 9, 40)]
    replies = [Replies() for _ in prompts]
    try:
        for prompt, listener in zip(prompts, replies, strict=True):
            engine.submit(request(prompt, LENGTH), listener)
        outputs = [each.beams()[0] for each in replies]
    finally:
        engine.shutdown()
    for prompt, output in zip(prompts, outputs, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + output])).logits[0, len(prompt) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(output)[:, None])[:, 0]
        # In bfloat16 the highest may change places with one that is about as high.
        assert (logits.max(dim=-1).values - chosen <= 0.05 * logits.std(dim=-1)).all()


def test_a_gpu_is_told_another_type(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_engine.config.best_device", lambda: torch.device("cuda"))
    with pytest.raises(ValueError, match="int8 is for CPUs; use bfloat16"):
        EngineConfig.resolve(checkpoint, dtype="int8")
    assert EngineConfig.resolve(checkpoint, dtype="int8", tensor_parallel_size=2).device == CPU


def test_aeolus_serve_offers_every_type() -> None:
    assert set(SERVED) == {AUTO, *checkpoints.DTYPES}
