"""Loading a checkpoint directory, and refusing one that cannot be served exactly."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from build_engines.checkpoint.forms import is_trtllm_config
from reference_engine.model.trtllm_config import huggingface_config

ARCHITECTURES = ("llama", "mistral", "stablelm")
# Rotary variants whose frequencies do not depend on the longest sequence of the batch. The others
# (dynamic, longrope) would make one request's output depend on its neighbours.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")

INT8 = "int8"
"""Weights of projections as int8, everything else as bfloat16."""
DTYPES = ("float32", "bfloat16", "float16", INT8)


class CheckpointError(RuntimeError):
    """The checkpoint directory cannot be served; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the engine needs to know of a model before it loads the weights."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    sliding_window: int | None
    num_ranks: int | None
    """How many a converted checkpoint is for; none of a Hugging Face one, which any may share."""


def torch_dtype(dtype: str) -> torch.dtype:
    """Return what one of `DTYPES` reads weights and computes in."""
    found: torch.dtype = getattr(torch, "bfloat16" if dtype == INT8 else dtype)
    return found


def read_config(directory: Path) -> tuple[PreTrainedConfig, int | None]:
    """Read config.json of a Hugging Face or a converted TensorRT-LLM checkpoint.

    Returns:
        The transformers configuration, and how many ranks a converted checkpoint is for.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} is not a checkpoint: no config.json there;"
            " give the directory of a Hugging Face checkpoint"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_trtllm_config(content):
            # Only here, so that a Hugging Face checkpoint is served without pydantic.
            from build_engines.checkpoint.trtllm_config import parse_trtllm_config

            converted = parse_trtllm_config(content)
            return huggingface_config(converted), converted.mapping.tp_size
        return AutoConfig.from_pretrained(directory, local_files_only=True), None
    except Exception as error:  # invalid JSON, unknown model_type, fields of the wrong type
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def read_shape(directory: Path) -> ModelShape:
    """Read what the engine needs to know of the checkpoint in `directory`.

    Raises:
        CheckpointError: there is none, it cannot be read, or the architecture or its rotary
            embedding cannot be served.
    """
    config, num_ranks = read_config(directory)
    if config.model_type not in ARCHITECTURES:
        raise CheckpointError(
            f"{directory}: architecture {config.model_type!r} is not supported;"
            f" supported are {', '.join(ARCHITECTURES)}"
        )
    rope_type = (config.rope_parameters or {}).get("rope_type", "default")
    if rope_type not in ROPE_TYPES:
        raise CheckpointError(
            f"{directory}: rotary type {rope_type!r} depends on the longest sequence of a batch"
            f" and is not supported; supported are {', '.join(ROPE_TYPES)}"
        )
    return ModelShape(
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None)
        or config.hidden_size // config.num_attention_heads,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        sliding_window=getattr(config, "sliding_window", None),
        num_ranks=num_ranks,
    )


def load_model(directory: Path, dtype: str, device: torch.device) -> Any:
    """Load a Hugging Face checkpoint, which `read_shape` has accepted, as one of `DTYPES`.

    Returns:
        A transformers causal language model on `device`, in evaluation mode.

    Raises:
        CheckpointError: the weights are absent, unreadable, incomplete or of the wrong shape.
    """
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=torch_dtype(dtype),
            attn_implementation="sdpa",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever safetensors and transformers raise on broken files
        raise CheckpointError(f"{directory}: the weights cannot be read: {error}") from error
    # transformers fills missing weights with random numbers and only warns.
    for problem in ("missing_keys", "mismatched_keys"):
        if keys := report.get(problem):
            names = ", ".join(sorted(str(key) for key in keys)[:5])
            raise CheckpointError(
                f"{directory}: {len(keys)} weights are {problem.removesuffix('_keys')} ({names});"
                " copy the checkpoint again, all *.safetensors files with config.json"
            )
    return model.eval().to(device)
