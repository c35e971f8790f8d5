"""Linear projections of flat lists of tokens, prepared for the machine at hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

# What oneDNN lays out the weights for; it computes any number (docs/performance.md).
PACKED_FOR_TOKENS = 16

Map = Callable[[torch.Tensor], torch.Tensor]


def projection(*modules: Any) -> Map:
    """Return one function that gives the outputs of `torch.nn.Linear` modules side by side.

    On a CPU the weights are packed once, where torch would do so in every call. Packed or not, they
    are a copy: a view would keep the whole file of a checkpoint in memory.
    """
    weight = torch.cat([module.weight for module in modules])
    bias = None
    if modules[0].bias is not None:
        bias = torch.cat([module.bias for module in modules])
    if not _can_be_packed(weight):
        return partial(functional.linear, weight=weight, bias=bias)
    # The operators that torch.compile itself uses (pytorch/pytorch, torch/_inductor/mkldnn_ir.py).
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_TOKENS)

    def project(tokens: torch.Tensor) -> torch.Tensor:
        missing = padded_length(len(tokens)) - len(tokens)
        padded = functional.pad(tokens, (0, 0, 0, missing)) if missing else tokens
        projected: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            padded, packed, bias, "none", [], ""
        )
        return projected[: len(tokens)]

    return project


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
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
