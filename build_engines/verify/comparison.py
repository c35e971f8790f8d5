"""The numeric check: a converted checkpoint and its source, computed side by side."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from build_engines.checkpoint.layout import plan_layout
from build_engines.checkpoint.trtllm_config import (
    TrtllmConfig,
    TrtllmConfigError,
    read_trtllm_config,
)
from build_engines.plan.host_memory import available_bytes
from build_engines.verify.directory import VerificationError
from build_engines.verify.oracle import open_oracle

TOLERANCE = 5e-5
"""Of the largest logit, in float32: several times what the order of summation makes."""

MEMORY_FRACTION = 0.7
"""Of what is available may be taken; activations and logits need the rest."""

LOADING_FACTOR = 1.5
"""The source is read in its type and turned to float32: for a while both are there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a converted checkpoint is from its source."""

    directory: Path
    num_layers: int
    total_layers: int
    num_tokens: int
    error: float
    """Largest difference of a logit, relative to the largest logit."""

    @property
    def ok(self) -> bool:
        """Whether both compute the same."""
        return self.error < TOLERANCE

    def render(self) -> str:
        """One line for a person."""
        return (
            f"{self.directory}: logits {'equal' if self.ok else 'DIFFER FROM'} those of the "
            f"source over {self.num_layers} of {self.total_layers} layers and {self.num_tokens} "
            f"tokens: relative error {self.error:.1e}, allowed {TOLERANCE:.0e}"
        )


def verify_against(
    directory: Path,
    checkpoint: Path,
    *,
    num_tokens: int = 512,
    num_layers: int | None = None,
) -> Comparison:
    """Compare the logits of a converted checkpoint with those of its Hugging Face source.

    Both are computed in float32 on the CPU, from random token ids, the source's weights first
    rounded to the type of the conversion. If not all layers fit in memory, as many as do are run.

    Args:
        directory: TensorRT-LLM checkpoint that `verify` accepts.
        checkpoint: the Hugging Face checkpoint that it was converted from.
        num_tokens: length of the sequence; cut to what the source attends to. Errors of rotary
            scaling grow with it.
        num_layers: how many layers to run; None for as many as memory allows.

    Raises:
        VerificationError: the checkpoint has quantized weights, one of the two cannot be read, or
            not even one layer fits in memory.
    """
    try:
        config = read_trtllm_config(directory)
    except TrtllmConfigError as error:
        raise VerificationError(str(error)) from error
    if config.quantization.quant_algo == "FP8":
        raise VerificationError(
            f"{directory}: holds FP8 weights, which are not equal to any source"
        )
    num_layers = min(num_layers or _layers_that_fit(config), config.num_hidden_layers)
    model = _load_source(checkpoint, config, num_layers)
    length = min(num_tokens, _attended_positions(model.config))
    input_ids = torch.randint(
        config.vocab_size, (length,), generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        expected = model(input_ids[None]).logits[0]
    del model
    with open_oracle(directory) as oracle:
        logits = oracle.logits(input_ids, num_layers)
    return Comparison(
        directory=directory,
        num_layers=num_layers,
        total_layers=config.num_hidden_layers,
        num_tokens=length,
        error=float((logits - expected).abs().max() / expected.abs().max()),
    )


def _layers_that_fit(config: TrtllmConfig) -> int:
    """Layers of the source that fit in memory as float32, beside its embeddings."""
    sizes = {"top": 0, "layer": 0}
    for name, shape in plan_layout(config).shapes.items():
        if not name.startswith("transformer.layers."):
            sizes["top"] += math.prod(shape)
        elif name.startswith("transformer.layers.0."):
            sizes["layer"] += math.prod(shape)
    # Embeddings may be repeated on the ranks, layers are not.
    layer_bytes = sizes["layer"] * config.mapping.tp_size * 4 * LOADING_FACTOR
    budget = MEMORY_FRACTION * available_bytes() - sizes["top"] * 4 * LOADING_FACTOR * 2
    num_layers = int(budget // layer_bytes)
    if num_layers < 1:
        raise VerificationError(
            f"a layer takes {layer_bytes / 2**30:.1f} GiB of memory, and {budget / 2**30:.1f} GiB "
            "are left beside the embeddings; compare on a machine with more memory"
        )
    return num_layers


def _load_source(checkpoint: Path, config: TrtllmConfig, num_layers: int) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        source = AutoConfig.from_pretrained(checkpoint, local_files_only=True)
        source.num_hidden_layers = num_layers
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint,
            config=source,
            dtype=getattr(torch, config.dtype),
            local_files_only=True,
        )
    except Exception as error:  # whatever transformers raises on what it cannot load
        raise VerificationError(f"{checkpoint}: cannot be loaded: {error}") from error
    return model.float().eval()


def _attended_positions(source: Any) -> int:
    """Most tokens of which the source's last one sees all, as the oracle's does."""
    length: int = source.max_position_embeddings
    return min(length, getattr(source, "sliding_window", None) or length)
