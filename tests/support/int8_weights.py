"""What int8 weights stand for."""

import torch

from reference_engine.model.projection import quantize


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """Return float64 [outputs, inputs]: a bfloat16 weight after rounding to int8."""
    int8, scales = quantize(weight)
    return int8.double() * scales.double()[:, None]
