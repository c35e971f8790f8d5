"""Random checkpoints with the proportions of the served models, and what their models compute."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedConfig,
    StableLmConfig,
    StableLmForCausalLM,
)

from catalog import ModelEntry, load_catalog

VOCAB_SIZE = 301  # tp 2 and 4 have to pad it
LENGTH = 4096
WEIGHT_STD = 0.08  # well above the usual 0.02, so that every part of a layer moves the logits


def _llama(**changes: Any) -> LlamaConfig:
    fields = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": LENGTH,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    }
    return LlamaConfig(**(fields | changes))


def _llama_2_70b() -> LlamaConfig:
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return _llama(num_attention_heads=16, hidden_size=256, rope_parameters=rope)


def llama_3_1(**changes: Any) -> LlamaConfig:
    """The scaling starts early, so that it matters within the lengths tested."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    }
    return _llama(rope_parameters=rope, **changes)


def _mistral(rope_theta: float = 10000.0) -> MistralConfig:
    return MistralConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=LENGTH,
        rms_norm_eps=1e-5,
        sliding_window=LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
    )


def _stablelm() -> StableLmConfig:
    """Heads as in the 3B: 80 lanes, 20 of them rotary."""
    return StableLmConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=320,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=LENGTH,
        layer_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
        },
    )


_CLASSES = {
    LlamaConfig: LlamaForCausalLM,
    MistralConfig: MistralForCausalLM,
    StableLmConfig: StableLmForCausalLM,
}
_SHAPES: dict[str, tuple[str, Callable[[], PreTrainedConfig]]] = {
    "stablelm-zephyr-3b": ("stablelm-zephyr-3b", _stablelm),
    "zephyr-7b-beta": ("zephyr-7b-beta", _mistral),
    "mistral-7b": ("mistral-7b", lambda: _mistral(rope_theta=1e6)),
    "llama-3-8b-instruct": ("llama-3-8b-instruct", _llama),
    "llama-2-70b": ("llama-2-70b", _llama_2_70b),
    "llama-3.1": ("llama-3-8b-instruct", llama_3_1),
}
SHAPES = list(_SHAPES)

_CHECKPOINTS = TemporaryDirectory(prefix="aeolus-tiny-")  # removed when the tests end


def model_of(shape: str) -> ModelEntry:
    """The catalog's entry that a checkpoint of this shape is converted as."""
    return load_catalog()[_SHAPES[shape][0]]


def make_checkpoint(
    directory: Path,
    shape: str,
    dtype: torch.dtype = torch.float32,
    *,
    tie_word_embeddings: bool = False,
    **save: Any,
) -> Path:
    """Write a random checkpoint; `save` goes to `save_pretrained`."""
    config = _SHAPES[shape][1]()
    config.tie_word_embeddings = tie_word_embeddings
    model = _CLASSES[type(config)](config)
    fill(model, seed=SHAPES.index(shape))
    model.to(dtype).save_pretrained(directory, **save)
    return directory


def fill(model: torch.nn.Module, seed: int) -> None:
    """Give a model random weights, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, WEIGHT_STD, generator=generator)


@cache
def checkpoint_of(shape: str) -> Path:
    """A float32 checkpoint, made once; not to be changed."""
    return make_checkpoint(Path(_CHECKPOINTS.name) / shape, shape)


@cache
def token_ids(length: int) -> torch.Tensor:
    return torch.randint(VOCAB_SIZE, (length,), generator=torch.Generator().manual_seed(length))


@cache
def expected_logits(shape: str, length: int) -> torch.Tensor:
    """What transformers computes from the checkpoint, [length, VOCAB_SIZE]."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_of(shape), dtype=torch.float32)
    with torch.inference_mode():
        logits: torch.Tensor = model(token_ids(length)[None]).logits[0]
    return logits


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
