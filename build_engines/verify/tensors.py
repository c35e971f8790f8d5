"""The tensors of a rank's file against what the checkpoint's config makes them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from build_engines.checkpoint.layout import Layout
from build_engines.checkpoint.quantization import ExpectedTensor
from build_engines.checkpoint.safetensors_file import TensorInfo, map_tensor, read_header
from build_engines.checkpoint.trtllm_config import TrtllmConfig

ROTARY_TABLES = {"rotary_inv_freq", "embed_positions", "embed_positions_for_gpt_attention"}
"""What TensorRT-LLM computes when it is not there."""


def expected_tensors(config: TrtllmConfig, layout: Layout) -> dict[str, ExpectedTensor]:
    """Return what each rank's file holds, scales included; `layout` is that of `config`."""
    dtype = config.safetensors_dtype
    return {
        name: tensor
        for plain, shape in layout.shapes.items()
        for name, tensor in config.quantization.stored(plain, shape, dtype).items()
    }


def tensor_problems(path: Path, expected: Mapping[str, ExpectedTensor]) -> Iterator[str]:
    """Find what is missing, of another shape or type, or not to be there; scales are read.

    TensorRT-LLM refuses wrong shapes, but takes over wrong types with no more than a warning.

    Raises:
        SafetensorsError: the file is cut short or no safetensors file.
    """
    tensors = read_header(path)
    for name, tensor in expected.items():
        found = tensors.get(name)
        if found is None:
            if not tensor.is_optional:
                yield f"{name} is missing"
        elif found.shape != tensor.shape:
            yield f"{name} has shape {list(found.shape)}, not {list(tensor.shape)}"
        elif found.dtype not in tensor.dtypes:
            yield f"{name} is {found.dtype}, not {' or '.join(sorted(tensor.dtypes))}"
        elif name.endswith("_scaling_factor"):
            yield from _scale_problems(path, name, found)
    for name in sorted(tensors.keys() - expected.keys() - ROTARY_TABLES):
        yield f"{name} is not part of a checkpoint with this config.json"


def _scale_problems(path: Path, name: str, info: TensorInfo) -> Iterator[str]:
    """A calibration that saw nothing, or an overflow, leaves scales that no number survives."""
    scales = map_tensor(path, info).astype(np.float32)
    if not (np.isfinite(scales) & (scales > 0)).all():
        yield f"{name} holds values that are not positive numbers; calibrate again"
