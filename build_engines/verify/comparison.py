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

QUANTIZED_TOLERANCE = {"FP8": 0.1, "W4A16_AWQ": 0.6}
"""Of the logits' root mean square. Random weights, the worst case, make 3% and 12% of a matrix and
2% and 42% of the logits; a swapped matrix or a wrong scale makes more than either."""

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
    mean_error: float
    """Root mean square of the differences, relative to that of the logits."""
    agreement: float
    """Share of the positions at which both find the same token the most likely."""
    quant_algo: str | None = None
    """Of weights that are quantized in the checkpoint: they are close to the source's at best."""

    @property
    def ok(self) -> bool:
        """Whether both compute the same, or as nearly so as the quantization lets them."""
        if self.quant_algo is None:
            return self.error < TOLERANCE
        return self.mean_error < QUANTIZED_TOLERANCE[self.quant_algo]

    def render(self) -> str:
        """One line for a person."""
        extent = (
            f"over {self.num_layers} of {self.total_layers} layers and {self.num_tokens} tokens"
        )
        if self.quant_algo is None:
            return (
                f"{self.directory}: logits {'equal' if self.ok else 'DIFFER FROM'} those of the "
                f"source {extent}: relative error {self.error:.1e}, allowed {TOLERANCE:.0e}"
            )
        return (
            f"{self.directory}: logits of the dequantized {self.quant_algo} weights are "
            f"{'near' if self.ok else 'FAR FROM'} those of the source {extent}: relative error "
            f"{self.mean_error:.1%} in the mean, allowed {QUANTIZED_TOLERANCE[self.quant_algo]:.0%}"
            f", {self.error:.1%} at most; the most likely token is the same at "
            f"{self.agreement:.1%} of the positions"
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
    rounded to the type of the conversion, quantized weights of the conversion dequantized. If not
    all layers fit in memory, as many as do are run.

    Args:
        directory: TensorRT-LLM checkpoint that `verify` accepts.
        checkpoint: the Hugging Face checkpoint that it was converted from.
        num_tokens: length of the sequence; cut to what the source attends to. Errors of rotary
            scaling grow with it.
        num_layers: how many layers to run; None for as many as memory allows.

    Raises:
        VerificationError: one of the two cannot be read, they have other vocabularies, or not even
            one layer fits in memory.
    """
    try:
        config = read_trtllm_config(directory)
    except TrtllmConfigError as error:
        raise VerificationError(str(error)) from error
    num_layers = min(num_layers or _layers_that_fit(config), config.num_hidden_layers)
    model = _load_source(checkpoint, config, num_layers)
    if model.config.vocab_size != config.vocab_size:
        raise VerificationError(
            f"{directory}: has a vocabulary of {config.vocab_size}, but {checkpoint} has one of "
            f"{model.config.vocab_size}"
        )
    length = min(num_tokens, _attended_positions(model.config))
    input_ids = torch.randint(
        config.vocab_size, (length,), generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        expected = model(input_ids[None]).logits[0]
    del model
    with open_oracle(directory) as oracle:
        logits = oracle.logits(input_ids, num_layers)
    difference = logits - expected
    quantization = config.quantization
    return Comparison(
        directory=directory,
        num_layers=num_layers,
        total_layers=config.num_hidden_layers,
        num_tokens=length,
        error=float(difference.abs().max() / expected.abs().max()),
        mean_error=float(difference.norm() / expected.norm()),
        agreement=float((logits.argmax(-1) == expected.argmax(-1)).float().mean()),
        quant_algo=quantization.quant_algo if quantization.has_quantized_weights else None,
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
