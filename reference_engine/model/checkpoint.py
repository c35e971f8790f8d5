"""A checkpoint directory: which ones are served, and in which types."""

import json
from pathlib import Path

import torch

from build_engines.checkpoint.forms import is_trtllm_config
from reference_engine.model.model_config import ModelConfig, huggingface_model_config

INT8 = "int8"
"""Weights of projections as int8, everything else as bfloat16."""
DTYPES = ("float32", "bfloat16", "float16", INT8)


class CheckpointError(RuntimeError):
    """The checkpoint directory cannot be served; the text says why and what to do."""


def torch_dtype(dtype: str) -> torch.dtype:
    """Return what one of `DTYPES` reads weights and computes in."""
    found: torch.dtype = getattr(torch, "bfloat16" if dtype == INT8 else dtype)
    return found


def read_model_config(directory: Path) -> ModelConfig:
    """Read config.json of a Hugging Face or a converted TensorRT-LLM checkpoint.

    Raises:
        CheckpointError: there is none, it cannot be read, or the model cannot be served.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} is not a checkpoint: no config.json there;"
            " give the directory of a Hugging Face checkpoint"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    try:
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        if not is_trtllm_config(content):
            return huggingface_model_config(content)
        # Only here, so that a Hugging Face checkpoint is served without pydantic.
        from build_engines.checkpoint.trtllm_config import parse_trtllm_config
        from reference_engine.model.trtllm_config import converted_model_config

        return converted_model_config(parse_trtllm_config(content))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
