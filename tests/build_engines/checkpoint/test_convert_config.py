"""Reading config.json: every spelling that transformers has written, and what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from build_engines.checkpoint.huggingface_config import (
    CheckpointError,
    HuggingFaceConfig,
    read_huggingface_config,
)
from build_engines.checkpoint.rotary import express_partial_rotary
from build_engines.checkpoint.translation import Translation, translate
from support import tiny_models

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 8,
    "vocab_size": 300,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}
SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def read(directory: Path, **changes: Any) -> HuggingFaceConfig:
    (directory / "config.json").write_text(json.dumps(LLAMA | changes))
    return read_huggingface_config(directory)


def translated(directory: Path, **changes: Any) -> Translation:
    source = read(directory, **changes)
    return translate(
        source,
        tp_size=1,
        dtype="float16",
        quantization="none",
        use_parallel_embedding=False,
    )


@pytest.mark.parametrize(
    "spelling",
    [
        {},
        {"rope_theta": 500000.0},
        {"rope_theta": 500000.0, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", **SCALING}},
        {"rope_theta": 500000.0, "rope_scaling": {"type": "llama3", **SCALING}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, **SCALING}},
        {"rope_theta": 1.0, "rope_parameters": {"rope_type": "default", "rope_theta": 2.0}},
    ],
)
def test_rotary_parameters_are_those_that_transformers_reads(
    tmp_path: Path, spelling: dict[str, Any]
) -> None:
    rope = read(tmp_path, **spelling).rope_parameters
    expected = AutoConfig.from_pretrained(tmp_path).rope_parameters
    for name in ("rope_type", "rope_theta", *(SCALING if expected.get("factor") else ())):
        assert rope[name] == expected[name]


@pytest.mark.parametrize("shape", tiny_models.SHAPES)
def test_sizes_are_those_that_transformers_reads(shape: str) -> None:
    checkpoint = tiny_models.checkpoint_of(shape)
    config, expected = read_huggingface_config(checkpoint), AutoConfig.from_pretrained(checkpoint)
    for name in ("num_key_value_heads", "hidden_size", "vocab_size", "tie_word_embeddings"):
        assert getattr(config, name) == getattr(expected, name)
    head_dim = getattr(expected, "head_dim", expected.hidden_size // expected.num_attention_heads)
    assert config.head_dim == head_dim


def test_the_base_hidden_in_rope_parameters_reaches_rotary_base(tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 500000.0}
    assert translated(tmp_path, rope_parameters=rope).config.rotary_base == 500000.0


def test_llama3_scaling_reaches_rotary_scaling(tmp_path: Path) -> None:
    scaling = translated(tmp_path, rope_scaling={"rope_type": "llama3", **SCALING}).config
    assert scaling.rotary_scaling == {"type": "llama3", "rope_type": "llama3", **SCALING}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "quantized by GPTQ; give the checkpoint",
        ),
        ({"num_attention_heads": 7, "num_key_value_heads": 2}, "does not divide"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
        ({"partial_rotary_factor": 0.5}, "always rotates all"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "low_freq_factor"),
    ],
)
def test_a_variant_that_would_compute_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        translated(tmp_path, **changes)


@pytest.mark.parametrize(
    "change", ["use_qkv_bias", "qk_layernorm", "use_parallel_residual", "rope_scaling"]
)
def test_a_stablelm_with_another_arithmetic_is_refused(tmp_path: Path, change: str) -> None:
    stablelm = {"architectures": ["StableLmForCausalLM"], "layer_norm_eps": 1e-5}
    value: object = {"rope_type": "linear", "factor": 2.0} if change == "rope_scaling" else True
    with pytest.raises(CheckpointError):
        translated(tmp_path, **stablelm, **{change: value})


@pytest.mark.parametrize(
    ("content", "reason"), [("", "JSON"), ("[]", "dictionary"), ("{}", "architectures")]
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=reason):
        read_huggingface_config(tmp_path)


def test_twenty_rotary_lanes_become_thirty_two_with_the_same_angles() -> None:
    rotary = express_partial_rotary(head_size=80, rotary_dim=20, theta=10000.0)
    assert rotary.width == 32
    lanes = [lane for run in rotary.lanes for lane in run]
    assert lanes == [*range(10), *range(20, 26), *range(10, 20), *range(26, 80)]
    # Ten frequencies are the original ones, and their wavelengths stay below the threshold.
    live = [rotary.base ** (-2 * i / 32) for i in range(10)]
    torch.testing.assert_close(live, [10000 ** (-i / 10) for i in range(10)])
    assert 2 * math.pi / min(live) < 32000 < 40000 < 2 * math.pi * rotary.base ** (20 / 32)


def test_a_width_that_the_kernels_take_is_left_alone() -> None:
    rotary = express_partial_rotary(head_size=128, rotary_dim=32, theta=10000.0)
    assert (rotary.width, rotary.base, rotary.scaling) == (32, 10000.0, None)
    assert rotary.lanes == (range(128),)


@pytest.mark.parametrize(("head_size", "theta"), [(24, 10000.0), (80, 500000.0), (80, 1000.0)])
def test_a_rotation_that_cannot_be_expressed_is_refused(head_size: int, theta: float) -> None:
    with pytest.raises(CheckpointError, match="20 rotary lanes"):
        express_partial_rotary(head_size, 20, theta)
