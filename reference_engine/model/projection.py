"""Linear projections of flat lists of tokens, prepared for the machine at hand."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch.nn import functional

# What oneDNN lays out the weights for; it computes any number (docs/performance.md).
PACKED_FOR_TOKENS = 16
# Beyond these, converting int8 weights for a product costs less than what it gains.
FEW_TOKENS = 64
LARGEST_INT8 = 127
# torch's product with int8 weights reads beyond the end of a weight whose sides are no multiples of
# its vectors; the widest has 32 numbers.
VECTOR = 32

Map = Callable[[torch.Tensor], torch.Tensor]


class Linear(NamedTuple):
    """A linear layer: `weight` [outputs, inputs], `bias` [outputs]."""

    weight: torch.Tensor
    bias: torch.Tensor | None


def packed_projection(*layers: Linear) -> Map:
    """Return one function that gives the outputs of layers with one input side by side.

    On a CPU the weights are packed once, where torch would do so in every call. Packed or not, they
    are a copy: a view would keep the whole file of a checkpoint in memory.
    """
    weight, bias = _side_by_side(layers)
    if not _can_be_packed(weight):
        return partial(functional.linear, weight=weight, bias=bias)
    # The operators that torch.compile itself uses (pytorch/pytorch, torch/_inductor/mkldnn_ir.py).
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_TOKENS)
    linear: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise.default

    def project(tokens: torch.Tensor) -> torch.Tensor:
        count = tokens.shape[0]
        missing = padded_length(count) - count
        if not missing:
            return linear(tokens, packed, bias, "none", [], "")
        padded = functional.pad(tokens, (0, 0, 0, missing))
        return linear(padded, packed, bias, "none", [], "")[:count]

    return project


def int8_projection(*layers: Linear) -> Map:
    """Return what `packed_projection` does, for bfloat16, with weights rounded to int8.

    Each output has a scale, so that its largest weight is 127. For few tokens, where a product
    waits for its weights, only a quarter of float32's bytes are read.
    """
    weight, bias = _side_by_side(layers)
    int8, scales = quantize(weight)
    many_dtype = torch.bfloat16 if _computes_bfloat16() else torch.float32
    most_at_once = FEW_TOKENS if all(side % VECTOR == 0 for side in int8.shape) else 0

    def project(tokens: torch.Tensor) -> torch.Tensor:
        if len(tokens) <= most_at_once:
            projected = torch._weight_int8pack_mm(tokens, int8, scales)
        else:
            product = functional.linear(tokens.to(many_dtype), int8.to(many_dtype))
            projected = product.mul_(scales).to(tokens.dtype)
        return projected if bias is None else projected.add_(bias)

    return project


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 [outputs, inputs] and bfloat16 scales [outputs] of a weight."""
    highest = weight.abs().amax(dim=1).float()
    scales = (highest / LARGEST_INT8).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    steps = weight.float().div_(scales.float()[:, None]).round_()
    return steps.clamp_(-LARGEST_INT8, LARGEST_INT8).to(torch.int8), scales


def _side_by_side(layers: Sequence[Linear]) -> Linear:
    weight = torch.cat([layer.weight for layer in layers])
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return Linear(weight, torch.cat(biases) if biases else None)


def padded_length(tokens: int) -> int:
    """Return how many tokens to compute for so many: up to a quarter more, in few different sizes.

    oneDNN compiles code for each number of tokens that it meets, which takes longer than the
    product for a small model, and keeps it: half a MiB each (docs/performance.md).
    """
    step = 1 << max(0, (tokens - 1).bit_length() - 3)
    return -(-tokens // step) * step


def _can_be_packed(weight: torch.Tensor) -> bool:
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if weight.device.type != "cpu" or not has_onednn:
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and _computes_bfloat16()
    )


def _computes_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
