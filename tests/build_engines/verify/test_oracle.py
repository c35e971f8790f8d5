"""A converted checkpoint computes what the original does, and nothing less careful would pass."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from build_engines.verify.oracle import open_oracle
from support import tiny_models

TOLERANCE = 5e-5
"""Of the largest logit."""


def error_of(directory: Path, shape: str, length: int) -> float:
    """Largest difference from transformers, relative to the largest logit."""
    expected = tiny_models.expected_logits(shape, length)
    with open_oracle(directory) as oracle:
        logits = oracle.logits(tiny_models.token_ids(length))
    return float((logits - expected).abs().max() / expected.abs().max())


@pytest.fixture(params=tiny_models.SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("use_parallel_embedding", [False, True])
@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_logits_equal_those_of_transformers(
    tmp_path: Path, shape: str, tp_size: int, use_parallel_embedding: bool
) -> None:
    output = tmp_path / "converted"
    convert(
        tiny_models.model_of(shape),
        tiny_models.checkpoint_of(shape),
        output,
        tp_size=tp_size,
        dtype="float32",
        quantization="none",
        use_parallel_embedding=use_parallel_embedding,
    )
    errors = {length: error_of(output, shape, length) for length in (16, 300, 3000)}
    assert max(errors.values()) < TOLERANCE, errors


def converted(directory: Path, shape: str) -> Path:
    output = directory / "converted"
    model, checkpoint = tiny_models.model_of(shape), tiny_models.checkpoint_of(shape)
    convert(model, checkpoint, output, tp_size=1, dtype="float32")
    return output


def edit_weights(directory: Path, edits: dict[str, torch.Tensor]) -> None:
    file = directory / "rank0.safetensors"
    save_file(load_file(file) | edits, file)


def test_swapping_fc_and_gate_is_noticed(tmp_path: Path, shape: str) -> None:
    directory = converted(tmp_path, shape)
    prefix = "transformer.layers.1.mlp."
    weights = load_file(directory / "rank0.safetensors")
    fc, gate = weights[f"{prefix}fc.weight"], weights[f"{prefix}gate.weight"]
    edit_weights(directory, {f"{prefix}fc.weight": gate, f"{prefix}gate.weight": fc})
    assert error_of(directory, shape, 16) > 100 * TOLERANCE


def test_leaving_out_the_lane_permutation_is_noticed(tmp_path: Path) -> None:
    directory = converted(tmp_path, "stablelm-zephyr-3b")
    source = load_file(tiny_models.checkpoint_of("stablelm-zephyr-3b") / "model.safetensors")
    prefix = "model.layers.1.self_attn."
    as_stored = torch.cat([source[f"{prefix}{each}_proj.weight"] for each in "qkv"])
    edit_weights(directory, {"transformer.layers.1.attention.qkv.weight": as_stored})
    assert error_of(directory, "stablelm-zephyr-3b", 300) > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["stablelm-zephyr-3b", "llama-3.1"])
def test_leaving_out_the_rope_scaling_is_noticed(tmp_path: Path, shape: str) -> None:
    directory = converted(tmp_path, shape)
    tiny_models.edit_json(directory / "config.json", rotary_scaling=None)
    assert error_of(directory, shape, 3000) > 20 * TOLERANCE


def test_a_wrong_rope_theta_is_noticed(tmp_path: Path, shape: str) -> None:
    directory = converted(tmp_path, shape)
    tiny_models.edit_json(directory / "config.json", rotary_base=20000.0)
    assert error_of(directory, shape, 300) > 100 * TOLERANCE
