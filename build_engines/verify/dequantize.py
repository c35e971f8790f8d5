"""Quantized weights of a rank's file as the matrices they stand for.

The rules of NVIDIA/TensorRT-LLM, tensorrt_llm/quantization/layers.py and
tensorrt_llm/models/modeling_utils.py (preprocess_weights), restated.
"""

from typing import Any

import torch
from torch import Tensor


def read_matrix(rank: Any, name: str, device: torch.device) -> Tensor:
    """Read a weight as float32, of the shape it had before it was quantized.

    Args:
        rank: the rank's open safetensors file.
        name: of the weight.
        device: to put it on.
    """
    weight = rank.get_tensor(name).to(device)
    prefix = name.removesuffix("weight")
    names = rank.keys()
    if f"{prefix}weights_scaling_factor" not in names:
        plain: Tensor = weight.float()
        return plain
    scales = rank.get_tensor(f"{prefix}weights_scaling_factor").to(device, torch.float32)
    if f"{prefix}prequant_scaling_factor" not in names:
        fp8: Tensor = weight.view(torch.float8_e4m3fn).float() * scales
        return fp8
    # The inputs are multiplied by their scales before they meet the weights.
    inputs = rank.get_tensor(f"{prefix}prequant_scaling_factor").to(device, torch.float32)
    integers = _unpack(weight.view(torch.int8))
    group_size = integers.shape[1] // scales.shape[1]
    awq: Tensor = integers * scales.repeat_interleave(group_size, dim=1) * inputs
    return awq


def _unpack(packed: Tensor) -> Tensor:
    """Turn bytes [outputs / 2, inputs] into integers of -8 to 7, [outputs, inputs].

    Outputs 2i and 2i + 1 are the low and the high half of byte i.
    """
    halves = torch.stack((packed & 0x0F, (packed >> 4) & 0x0F), dim=1)
    signed = torch.where(halves > 7, halves - 16, halves)
    return signed.reshape(-1, packed.shape[1]).float()
