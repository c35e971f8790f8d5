"""Which checkpoint directories are served, and what is said of the others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.checkpoint import CheckpointError
from support.engine_harness import ask, request


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to be damaged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def change_config(directory: Path, **values: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_refused(directory: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=text) as refusal:
        ReferenceEngine(EngineConfig.resolve(directory))
    assert str(directory) in str(refusal.value)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing", "no config.json there")


def test_a_broken_config_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert_refused(copy, "config.json cannot be read")


def test_an_architecture_of_another_kind_is_refused(copy: Path) -> None:
    change_config(copy, model_type="gpt2", architectures=["GPT2LMHeadModel"])
    assert_refused(copy, "'gpt2' is not supported; supported are llama, mistral, stablelm")


def test_a_rotary_embedding_that_depends_on_the_batch_is_refused(copy: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    change_config(copy, rope_parameters=rope)
    assert_refused(copy, "rotary type 'dynamic'")


@pytest.mark.parametrize("fields", [{}, {"factor": "2"}, {"factor": []}])
@pytest.mark.parametrize("rope_type", ["linear", "llama3", "yarn"])
def test_a_scaled_rotary_embedding_without_its_fields_is_refused(
    copy: Path, rope_type: str, fields: dict[str, object]
) -> None:
    change_config(copy, rope_parameters={"rope_type": rope_type, "rope_theta": 1e4, **fields})
    with pytest.raises(CheckpointError, match=f"rope_parameters .*{rope_type}.* cannot be used"):
        ReferenceEngine(EngineConfig.resolve(copy))


def test_an_activation_that_there_is_not_is_refused(copy: Path) -> None:
    change_config(copy, hidden_act="swish-9")
    with pytest.raises(CheckpointError, match="hidden_act is 'swish-9'"):
        ReferenceEngine(EngineConfig.resolve(copy))


def test_missing_weight_files_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert_refused(copy, "weights cannot be read")


def test_a_damaged_weight_file_is_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert_refused(copy, "weights cannot be read")


def test_a_missing_weight_is_refused_and_named(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert_refused(copy, "model.layers.1.mlp.up_proj.weight is missing")


def test_a_weight_of_another_shape_is_refused(copy: Path) -> None:
    change_config(copy, intermediate_size=128)
    assert_refused(copy, "weights")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_serves_too(checkpoint: Path, dtype: str) -> None:
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=2, dtype=dtype))
    assert len(ask(engine, request([1, 2, 3], 8))[0]) == 8
    engine.shutdown()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"max_seq_len": 513}, r"max_seq_len is 513; it must be in \[2, 512\]"),
        ({"max_beam_width": 3, "max_batch_size": 2}, "max_beam_width is 3"),
        ({"max_batch_size": 0}, "max_beam_width is 1"),
        ({"max_tokens_in_paged_kv_cache": 31}, "max_tokens_in_paged_kv_cache is 31"),
        ({"max_queue_size": -1}, "max_queue_size is -1"),
        ({"tensor_parallel_size": 0}, "tensor_parallel_size is 0"),
        ({"dtype": "int4"}, "dtype is 'int4'; use one of auto, float32, bfloat16, float16, int8"),
    ],
)
def test_limits_that_contradict_the_model_or_each_other_are_refused(
    checkpoint: Path, limits: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        EngineConfig.resolve(checkpoint, **limits)


def test_the_longest_sequence_is_the_models_by_default(checkpoint: Path) -> None:
    assert EngineConfig.resolve(checkpoint).max_seq_len == 512
