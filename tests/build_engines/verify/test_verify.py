"""A directory that was changed, mixed up or never finished does not pass for a checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from build_engines.verify.directory import VerificationError, verify
from support import tiny_models

PREFIX = "transformer.layers.0."


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    output = tmp_path / "out"
    model = tiny_models.model_of("mistral-7b")
    convert(model, tiny_models.checkpoint_of("mistral-7b"), output, tp_size=2)
    return output


def problems(directory: Path) -> str:
    report = verify(directory)
    assert not report.ok
    assert "NOT USABLE" in report.render()
    return "\n".join(report.problems)


def edit_rank(directory: Path, rank: int, **edits: torch.Tensor | None) -> None:
    """Set or remove tensors; the manifest is removed, so that only the tensors are judged."""
    (directory / "manifest.json").unlink(missing_ok=True)
    file = directory / f"rank{rank}.safetensors"
    tensors = load_file(file) | edits
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, file)


@pytest.mark.parametrize("shape", tiny_models.SHAPES)
@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_what_was_converted_passes(tmp_path: Path, shape: str, tp_size: int) -> None:
    model, checkpoint = tiny_models.model_of(shape), tiny_models.checkpoint_of(shape)
    convert(model, checkpoint, tmp_path / "out", tp_size=tp_size)
    report = verify(tmp_path / "out")
    assert report.problems == []
    assert f"{tp_size} ranks of" in report.render()


def test_a_flipped_bit_is_found(directory: Path) -> None:
    file = directory / "rank1.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert problems(directory) == "rank1.safetensors: has changed since the conversion"


def test_a_changed_config_is_found(directory: Path) -> None:
    tiny_models.edit_json(directory / "config.json", rotary_base=20000.0)
    assert problems(directory) == "config.json: has changed since the conversion"


def test_a_missing_rank_is_found(directory: Path) -> None:
    (directory / "rank1.safetensors").unlink()
    assert "rank1.safetensors: missing or empty" in problems(directory)


def test_the_rank_of_another_conversion_is_found(directory: Path) -> None:
    shutil.copy(directory / "rank1.safetensors", directory / "rank2.safetensors")
    assert "rank2.safetensors: not the file of one of 2 ranks" in problems(directory)


def test_a_truncated_rank_is_found(directory: Path) -> None:
    file = directory / "rank0.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert "its header needs" in problems(directory)


def test_a_missing_tensor_is_found(directory: Path) -> None:
    edit_rank(directory, 1, **{f"{PREFIX}mlp.gate.weight": None})
    assert problems(directory) == f"rank1.safetensors: {PREFIX}mlp.gate.weight is missing"


def test_a_wrong_shape_is_found(directory: Path) -> None:
    edit_rank(directory, 0, **{f"{PREFIX}mlp.gate.weight": torch.zeros(2, 2).half()})
    assert f"{PREFIX}mlp.gate.weight has shape [2, 2], not [96, 128]" in problems(directory)


def test_a_type_that_tensorrt_llm_would_silently_take_over_is_found(directory: Path) -> None:
    edit_rank(directory, 0, **{"transformer.ln_f.weight": torch.ones(128)})
    assert problems(directory) == "rank0.safetensors: transformer.ln_f.weight is F32, not F16"


def test_a_tensor_that_belongs_to_another_class_is_found(directory: Path) -> None:
    edit_rank(directory, 0, **{"transformer.ln_f.bias": torch.ones(128).half()})
    assert "transformer.ln_f.bias is not part of a checkpoint with this config.json" in problems(
        directory
    )


def test_a_checkpoint_of_other_tools_passes_without_a_manifest(directory: Path) -> None:
    table = torch.zeros(1, 4096, 32)
    edit_rank(directory, 0, embed_positions=table)
    report = verify(directory)
    assert report.ok
    assert "no manifest.json" in report.render()


def as_fp8(directory: Path) -> None:
    """Rewrite a conversion in the form of NVIDIA's FP8 export."""
    config = json.loads((directory / "config.json").read_text())
    config["quantization"] |= {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "group_size": 128}
    (directory / "config.json").write_text(json.dumps(config))
    for rank in range(2):
        edits = {}
        for name, tensor in load_file(directory / f"rank{rank}.safetensors").items():
            if name.startswith("transformer.layers.") and tensor.ndim == 2:
                edits[name] = tensor.to(torch.float8_e4m3fn)
                for scale in ("weights_scaling_factor", "activation_scaling_factor"):
                    edits[name.removesuffix("weight") + scale] = torch.ones(1)
                if "qkv" in name:
                    cache = name.replace("qkv.weight", "kv_cache_scaling_factor")
                    edits[cache] = torch.ones(1)
        edit_rank(directory, rank, **edits)


def test_an_fp8_export_passes(directory: Path) -> None:
    as_fp8(directory)
    assert verify(directory).problems == []


def test_an_fp8_export_without_a_scale_is_found(directory: Path) -> None:
    as_fp8(directory)
    edit_rank(directory, 0, **{f"{PREFIX}mlp.fc.activation_scaling_factor": None})
    assert f"{PREFIX}mlp.fc.activation_scaling_factor is missing" in problems(directory)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"position_embedding_type": "learned_absolute"}, "position_embedding_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"architecture": "StableLmForCausalLM"}, "StableLmForCausalLM"),
        ({"mapping": {"world_size": 4, "tp_size": 2}}, "world_size 4 is not tp_size 2"),
        ({"mapping": {"world_size": 2, "tp_size": 2, "rank": 0}}, "unknown keys"),
        ({"quantization": {"quant_algo": None, "algo": "FP8"}}, "unknown keys"),
        ({"num_attention_heads": 7}, "tp_size 2 does not divide num_attention_heads 7"),
    ],
)
def test_a_config_that_tensorrt_llm_would_misread_is_found(
    directory: Path, changes: dict[str, Any], reason: str
) -> None:
    tiny_models.edit_json(directory / "config.json", **changes)
    assert reason in problems(directory)


@pytest.mark.parametrize(("rotary_dim", "rotary_pct"), [(20, 0.25), (32, 0.25)])
def test_a_rotary_width_that_the_kernels_refuse_is_found(
    tmp_path: Path, rotary_dim: int, rotary_pct: float
) -> None:
    model = tiny_models.model_of("stablelm-zephyr-3b")
    output = tmp_path / "out"
    convert(model, tiny_models.checkpoint_of("stablelm-zephyr-3b"), output)
    tiny_models.edit_json(
        output / "config.json", rotary_embedding_dim=rotary_dim, rotary_pct=rotary_pct
    )
    assert "rotary" in problems(output)


def test_progress_counts_the_bytes_that_are_hashed(directory: Path) -> None:
    calls: list[tuple[int, int]] = []
    verify(directory, progress=lambda *each: calls.append(each))
    files = json.loads((directory / "manifest.json").read_text())["files"].values()
    total = sum(file["size"] for file in files)
    assert calls[-1] == (total, total)


@pytest.mark.parametrize("content", [None, "{"])
def test_a_directory_with_no_config_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(VerificationError, match=r"config\.json"):
        verify(tmp_path)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """An engine directory in form; the plans themselves only TensorRT can read."""
    config = {
        "version": "1.2.1",
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": "float16",
            "hidden_size": 8192,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_size": 128,
            "intermediate_size": 28672,
            "vocab_size": 32000,
            "max_position_embeddings": 4096,
            "mapping": {"world_size": 2, "tp_size": 2},
        },
        "build_config": {
            "max_batch_size": 64,
            "max_beam_width": 4,
            "max_input_len": 4095,
            "max_seq_len": 4096,
            "max_num_tokens": 4096,
            "kv_cache_type": "PAGED",
            "plugin_config": {"remove_input_padding": True, "use_paged_context_fmha": True},
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    for rank in range(2):
        (tmp_path / f"rank{rank}.engine").write_bytes(b"plan")
    return tmp_path


def test_an_engine_directory_passes(engine: Path) -> None:
    report = verify(engine)
    assert report.problems == []
    assert "TensorRT-LLM 1.2.1, float16, 2 ranks" in report.render()


def test_an_engine_with_an_empty_rank_is_found(engine: Path) -> None:
    (engine / "rank1.engine").write_bytes(b"")
    assert problems(engine) == "rank1.engine: missing or empty"


def test_an_engine_of_another_release_is_found(engine: Path) -> None:
    tiny_models.edit_json(engine / "config.json", version="1.0.0")
    assert "was built by TensorRT-LLM 1.0.0" in problems(engine)


def test_an_engine_config_without_limits_is_found(engine: Path) -> None:
    tiny_models.edit_json(engine / "config.json", build_config={})
    assert "max_batch_size" in problems(engine)
