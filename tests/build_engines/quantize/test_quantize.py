"""Calibrated checkpoints by the real ModelOpt, from the command's function to the numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.manifest import Manifest
from build_engines.checkpoint.partial_directory import ConversionError
from build_engines.checkpoint.trtllm_config import read_trtllm_config
from build_engines.plan.capacity import PlanError, choose_engine
from build_engines.quantize.packages import REQUIREMENTS, ModelOptError
from build_engines.quantize.run import quantize
from build_engines.tensorrt_llm.build import build_engine
from build_engines.tensorrt_llm.tool import ToolError
from build_engines.verify.comparison import verify_against
from build_engines.verify.directory import verify
from catalog import load_catalog
from support.nvidia_tools import H100, install
from support.tiny_models import edit_json

pytestmark = [pytest.mark.slow, pytest.mark.extended]

LLAMA = load_catalog()["llama-3-8b-instruct"]
FP8 = choose_engine(LLAMA, gpu="H100", quantization="fp8", tp_size=2)
AWQ = choose_engine(LLAMA, gpu="H100", quantization="int4_awq", kv_cache_dtype="fp8")
PREFIX = "transformer.layers.1."


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few sentences: the models here are small, and AWQ runs every row many times."""
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("How much gold is too much gold? There is no such thing. " * 3)
    return path


@pytest.fixture(scope="module")
def fp8(modelopt: Path, source: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quantized") / "fp8"
    lines: list[str] = []
    quantize(LLAMA, FP8, source, output, lines.append, calibration=text, overlay=modelopt)
    assert "calibrating: 1 of 1 rows" in lines
    return output


@pytest.fixture(scope="module")
def awq(modelopt: Path, source: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quantized") / "awq"
    quantize(LLAMA, AWQ, source, output, print, calibration=text, overlay=modelopt)
    return output


def edit_rank(directory: Path, copy: Path, **edits: torch.Tensor) -> Path:
    """Copy a checkpoint with tensors of rank 0 exchanged, and no manifest."""
    copy.mkdir()
    for path in directory.iterdir():
        if path.name not in ("manifest.json", "rank0.safetensors"):
            (copy / path.name).symlink_to(path)
    save_file(load_file(directory / "rank0.safetensors") | edits, copy / "rank0.safetensors")
    return copy


def test_fp8_is_what_tensorrt_llm_reads(fp8: Path) -> None:
    report = verify(fp8)
    assert report.problems == []
    assert "quantization FP8, KV cache FP8, 2 ranks of" in report.render()
    assert "written by modelopt 0.37" in report.render()
    for rank in range(2):
        tensors = load_file(fp8 / f"rank{rank}.safetensors")
        assert tensors[f"{PREFIX}mlp.fc.weight"].dtype == torch.float8_e4m3fn
        assert tensors["lm_head.weight"].dtype == torch.bfloat16
        assert float(tensors[f"{PREFIX}attention.qkv.activation_scaling_factor"]) > 0
        assert tensors[f"{PREFIX}attention.kv_cache_scaling_factor"].shape == (1,)


def test_rotary_parameters_survive_an_older_transformers(fp8: Path) -> None:
    config = read_trtllm_config(fp8)
    assert config.rotary_base == 500000.0
    assert config.rotary_scaling is not None
    assert config.rotary_scaling["factor"] == 8.0


def test_int4_awq_is_what_tensorrt_llm_reads(awq: Path) -> None:
    report = verify(awq)
    assert report.problems == []
    assert "quantization W4A16_AWQ, KV cache FP8, 1 ranks of" in report.render()
    assert load_file(awq / "rank0.safetensors")[f"{PREFIX}mlp.fc.weight"].shape == (128, 128)


def test_dequantized_weights_are_near_the_source(fp8: Path, awq: Path, source: Path) -> None:
    eight, four = verify_against(fp8, source), verify_against(awq, source)
    assert eight.ok, eight.render()
    assert four.ok, four.render()
    # Quantized they are: neither is exact, and four bits are worse than eight.
    assert 1e-3 < eight.mean_error < four.mean_error
    assert "logits of the dequantized FP8 weights are near" in eight.render()


@pytest.mark.parametrize("part", ["mlp.fc", "attention.qkv"])
def test_a_wrong_scale_is_far_from_the_source(
    fp8: Path, awq: Path, source: Path, tmp_path: Path, part: str
) -> None:
    name = f"{PREFIX}{part}.weights_scaling_factor"
    for directory in (fp8, awq):
        scale = load_file(directory / "rank0.safetensors")[name]
        edited = edit_rank(directory, tmp_path / directory.name, **{name: scale * 4})
        result = verify_against(edited, source)
        assert not result.ok
        assert "FAR FROM" in result.render()


def test_a_scale_that_is_no_number_is_found(fp8: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}mlp.proj.activation_scaling_factor"
    edited = edit_rank(fp8, tmp_path / "edited", **{name: torch.tensor([float("nan")])})
    (problem,) = verify(edited).problems
    assert problem.startswith(f"rank0.safetensors: {name} holds values that are not positive")


def test_a_scale_of_another_quantization_is_found(fp8: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}mlp.proj.prequant_scaling_factor"
    edited = edit_rank(fp8, tmp_path / "edited", **{name: torch.ones(128)})
    (problem,) = verify(edited).problems
    assert problem == f"rank0.safetensors: {name} is not part of a checkpoint with this config.json"


def test_the_same_again_does_nothing_and_another_text_is_refused(
    fp8: Path, modelopt: Path, source: Path, text: Path
) -> None:
    before = (fp8 / "rank0.safetensors").stat().st_mtime_ns
    manifest = quantize(LLAMA, FP8, source, fp8, print, calibration=text, overlay=modelopt)
    assert manifest == Manifest.read(fp8)
    assert (fp8 / "rank0.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConversionError, match="is a conversion with another calibration"):
        quantize(LLAMA, FP8, source, fp8, print, overlay=modelopt)


def test_an_engine_is_built_from_it(
    fp8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, gpus=[H100] * 2)
    build_engine(LLAMA, FP8, fp8, tmp_path / "engine", print)
    argv = json.loads((tmp_path / "engine" / "argv.json").read_text())
    assert argv[argv.index("--gemm_plugin") + 1] == "disable"
    assert argv[argv.index("--use_fp8_context_fmha") + 1] == "enable"


def test_a_failure_of_modelopt_is_an_error_with_its_log(source: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "packages"
    overlay.mkdir()
    (overlay / REQUIREMENTS.name).write_bytes(REQUIREMENTS.read_bytes())
    (overlay / "modelopt.py").write_text("raise ImportError('no CUDA driver of this age')")
    with pytest.raises(ToolError, match=r"no CUDA driver of this age \(log: .*fp8\.log\)"):
        quantize(LLAMA, FP8, source, tmp_path / "fp8", print, overlay=overlay)
    assert not (tmp_path / "fp8").exists()
    assert "no CUDA driver" in (tmp_path / "fp8.log").read_text()


def test_without_modelopt_the_error_says_how_to_install_it(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelOptError, match="make modelopt"):
        quantize(LLAMA, FP8, source, tmp_path / "fp8", print, overlay=tmp_path)


def test_sizes_that_awq_cannot_group_are_refused_before_anything_runs(
    source: Path, tmp_path: Path
) -> None:
    plan = AWQ.model_copy(update={"tp_size": 2})
    with pytest.raises(PlanError, match="attention heads of a GPU are 64"):
        quantize(LLAMA, plan, source, tmp_path / "awq", print)


def test_a_source_without_a_tokenizer_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "source" / name).symlink_to(source / name)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        quantize(LLAMA, FP8, tmp_path / "source", tmp_path / "fp8", print)


def test_a_vocabulary_that_modelopt_would_pad_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for path in source.iterdir():
        if path.name != "config.json":
            (tmp_path / "source" / path.name).symlink_to(path)
    (tmp_path / "source" / "config.json").write_bytes((source / "config.json").read_bytes())
    edit_json(tmp_path / "source" / "config.json", vocab_size=500)
    with pytest.raises(PlanError, match="int4_awq needs a vocabulary of a multiple of 64, not 500"):
        quantize(LLAMA, AWQ, tmp_path / "source", tmp_path / "awq", print)
