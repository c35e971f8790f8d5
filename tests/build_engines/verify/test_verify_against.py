"""The numeric check behind `verify --against`."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from build_engines.verify import comparison
from build_engines.verify.comparison import verify_against
from build_engines.verify.directory import VerificationError
from support import tiny_models


@pytest.mark.parametrize("shape", tiny_models.SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_conversion_equals_its_source_in_the_type_of_the_plan(
    tmp_path: Path, shape: str, dtype: torch.dtype
) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", shape, dtype)
    convert(tiny_models.model_of(shape), checkpoint, tmp_path / "out", tp_size=2)
    result = verify_against(tmp_path / "out", checkpoint)
    assert result.ok, result.render()
    assert (result.num_layers, result.total_layers, result.num_tokens) == (2, 2, 512)


def test_the_conversion_of_another_checkpoint_differs(tmp_path: Path) -> None:
    model = tiny_models.model_of("zephyr-7b-beta")
    convert(model, tiny_models.checkpoint_of("zephyr-7b-beta"), tmp_path / "out")
    result = verify_against(tmp_path / "out", tiny_models.checkpoint_of("mistral-7b"))
    assert not result.ok
    assert "DIFFER FROM" in result.render()


def test_a_single_wrong_weight_differs(tmp_path: Path) -> None:
    model, checkpoint = tiny_models.model_of("mistral-7b"), tiny_models.checkpoint_of("mistral-7b")
    convert(model, checkpoint, tmp_path / "out", dtype="float32")
    file = tmp_path / "out" / "rank0.safetensors"
    tensors = load_file(file)
    tensors["transformer.layers.1.mlp.proj.weight"][3, 5] += 1
    save_file(tensors, file)
    assert not verify_against(tmp_path / "out", checkpoint).ok


def test_the_sequence_is_no_longer_than_the_sliding_window(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")
    tiny_models.edit_json(checkpoint / "config.json", sliding_window=24)
    convert(tiny_models.model_of("mistral-7b"), checkpoint, tmp_path / "out")
    result = verify_against(tmp_path / "out", checkpoint)
    assert (result.num_tokens, result.ok) == (24, True)


def test_only_as_many_layers_are_run_as_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint = tiny_models.model_of("mistral-7b"), tiny_models.checkpoint_of("mistral-7b")
    convert(model, checkpoint, tmp_path / "out")
    # One layer has 155,904 weights, the rest 77,184, of which each is counted twice.
    monkeypatch.setattr(comparison, "available_bytes", lambda: 3_500_000)
    result = verify_against(tmp_path / "out", checkpoint)
    assert (result.num_layers, result.ok) == (1, True)


def test_a_machine_without_room_for_a_layer_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint = tiny_models.model_of("mistral-7b"), tiny_models.checkpoint_of("mistral-7b")
    convert(model, checkpoint, tmp_path / "out")
    monkeypatch.setattr(comparison, "available_bytes", lambda: 1_000_000)
    with pytest.raises(VerificationError, match="a machine with more memory"):
        verify_against(tmp_path / "out", checkpoint)


def test_a_source_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    model, checkpoint = tiny_models.model_of("mistral-7b"), tiny_models.checkpoint_of("mistral-7b")
    convert(model, checkpoint, tmp_path / "out")
    with pytest.raises(VerificationError, match="nowhere"):
        verify_against(tmp_path / "out", tmp_path / "nowhere")
