"""Whatever goes wrong: a clear error, and nothing that looks finished."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.partial_directory import ConversionError, partial_directory
from catalog import load_catalog
from support import tiny_models

MISTRAL = load_catalog()["mistral-7b"]
STABLELM = load_catalog()["stablelm-zephyr-3b"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")


def assert_nothing_left(directory: Path, source: str = "source") -> None:
    assert [path.name for path in directory.iterdir()] == [source]


def fail(checkpoint: Path, error: type[Exception], reason: str, **options: Any) -> None:
    output = checkpoint.parent / "out"
    with pytest.raises(error, match=reason):
        convert(MISTRAL, checkpoint, output, **options)
    assert_nothing_left(checkpoint.parent)


def test_a_shard_that_is_cut_short_is_named(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)
    fail(checkpoint, CheckpointError, r"model\.safetensors: has .* its header needs")


@pytest.mark.parametrize("content", [b"", b"\x05", b"not safetensors at all", b"\x02" + bytes(9)])
def test_a_file_that_is_no_safetensors_file_is_named(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "model.safetensors").write_bytes(content)
    fail(checkpoint, CheckpointError, r"model\.safetensors: (cut short|the header)")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_opened_only_where_that_is_allowed(checkpoint: Path, name: str) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / name).write_bytes(b"nobody looks into it")
    fail(checkpoint, CheckpointError, "opened only with --allow-pickle")


def test_a_pickle_that_is_cut_short_is_named(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    file = checkpoint / "pytorch_model.bin"
    torch.save(tensors, file)
    file.write_bytes(file.read_bytes()[:-1000])
    fail(checkpoint, CheckpointError, r"pytorch_model\.bin: damaged", allow_pickle=True)


def test_a_pickle_that_runs_code_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").unlink()

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"model.norm.weight": Touch()}, checkpoint / "pytorch_model.bin")
    fail(checkpoint, CheckpointError, r"pytorch_model\.bin: damaged", allow_pickle=True)


def test_a_missing_tensor_is_named(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file)
    fail(
        checkpoint, CheckpointError, r"1 of 21 weights are missing: model\.layers\.1\.mlp\.up_proj"
    )


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(
        tmp_path / "source", "mistral-7b", max_shard_size="500KB"
    )
    shard = sorted(checkpoint.glob("model-*.safetensors"))[0]
    shard.unlink()
    fail(checkpoint, CheckpointError, f"names files that are not there: {shard.name}")


def test_a_tensor_of_another_shape_is_named(checkpoint: Path) -> None:
    tiny_models.edit_json(checkpoint / "config.json", vocab_size=512)
    fail(checkpoint, CheckpointError, r"model\.embed_tokens\.weight: has shape")


def test_a_weight_that_would_be_left_out_is_named(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    bias = {"model.layers.0.self_attn.q_proj.bias": torch.ones(256)}
    save_file(load_file(file) | bias, file)
    fail(checkpoint, CheckpointError, r"would leave out: model\.layers\.0\.self_attn\.q_proj\.bias")


def test_integer_weights_are_refused(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, file)
    fail(checkpoint, CheckpointError, r"model\.norm\.weight: is of type I8")


def test_a_directory_without_weights_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    fail(checkpoint, CheckpointError, "holds no weights")


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "llama-3-8b-instruct")
    fail(checkpoint, CheckpointError, "is a LlamaForCausalLM, but mistral-7b is a Mistral")


def test_an_architecture_that_is_not_served_is_refused(checkpoint: Path) -> None:
    tiny_models.edit_json(checkpoint / "config.json", architectures=["GPT2LMHeadModel"])
    fail(checkpoint, CheckpointError, "is a GPT2LMHeadModel, but mistral-7b is a Mistral")


@pytest.mark.parametrize("quantization", ["fp8", "awq"])
def test_a_quantization_that_stablelm_does_not_have_is_refused(
    tmp_path: Path, quantization: Any
) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "stablelm-zephyr-3b")
    with pytest.raises(
        CheckpointError, match=f"quantization '{quantization}', but with none, int8"
    ):
        convert(STABLELM, checkpoint, tmp_path / "out", quantization=quantization)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("tp_size", [3, 16])
def test_ranks_that_do_not_divide_the_heads_are_refused(checkpoint: Path, tp_size: int) -> None:
    fail(checkpoint, CheckpointError, f"tp_size {tp_size} does not divide", tp_size=tp_size)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_weight_that_is_no_finite_number_is_refused_whatever_the_types(
    tmp_path: Path, dtype: Any, stored: torch.dtype, value: str
) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b", stored)
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.self_attn.k_proj.weight"][5, 7] = float(value)
    save_file(tensors, file)
    fail(checkpoint, CheckpointError, r"layers\.1\.self_attn\.k_proj\.weight: .*NaN", dtype=dtype)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "LoRA adapter .* merge it into"),
        (["model-q4_k_m.gguf"], "GGUF file for llama.cpp; give the Hugging Face checkpoint"),
        (["consolidated.00.pth", "params.json", "tokenizer.model"], "Meta's original form"),
        (["consolidated.safetensors", "params.json"], "Mistral's original form"),
        ([], r"config\.json: No such file"),
    ],
)
def test_what_is_no_hugging_face_checkpoint_is_told_apart(
    tmp_path: Path, files: list[str], what: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in files:
        (source / name).touch()
    fail(source, CheckpointError, what)


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8", "bitsandbytes"])
def test_a_quantized_checkpoint_is_refused_by_its_method(checkpoint: Path, method: str) -> None:
    tiny_models.edit_json(checkpoint / "config.json", quantization_config={"quant_method": method})
    reason = f"quantized by {method.upper()}; give the checkpoint that it was made from"
    fail(checkpoint, CheckpointError, reason)


def test_a_converted_checkpoint_is_not_converted_again(checkpoint: Path, tmp_path: Path) -> None:
    convert(MISTRAL, checkpoint, tmp_path / "converted")
    with pytest.raises(CheckpointError, match="a TensorRT-LLM checkpoint already"):
        convert(MISTRAL, tmp_path / "converted", tmp_path / "out")


def test_a_value_beyond_float16_is_refused_and_not_made_infinite(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.down_proj.weight"][5, 7] = 70000.0
    save_file(tensors, file)
    fail(checkpoint, CheckpointError, r"layers\.1\.mlp\.down_proj.*float16", dtype="float16")
    convert(MISTRAL, checkpoint, checkpoint.parent / "out", dtype="bfloat16")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond `size` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100_000, 770_000])
def test_a_disk_that_fills_up_is_named_and_left_clean(checkpoint: Path, size: int) -> None:
    with file_size_limit(size):
        fail(checkpoint, ConversionError, r"out: cannot be written: File too large", tp_size=1)


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ConversionError, match="bytes free"),
        partial_directory(tmp_path / "out", needed=1 << 60),
    ):
        pytest.fail("the body must not run")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_no_conversion_is_not_touched(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ConversionError, match="exists and is not a conversion"):
        convert(MISTRAL, checkpoint, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_an_output_that_lost_a_file_is_not_taken_for_finished(
    checkpoint: Path, tmp_path: Path
) -> None:
    convert(MISTRAL, checkpoint, tmp_path / "out")
    (tmp_path / "out" / "rank0.safetensors").unlink()
    with pytest.raises(ConversionError, match=r"rank0\.safetensors: missing or damaged"):
        convert(MISTRAL, checkpoint, tmp_path / "out")


def test_two_conversions_to_one_place_do_not_mix(checkpoint: Path, tmp_path: Path) -> None:
    def convert_too(_done: int, _total: int) -> None:
        with pytest.raises(ConversionError, match="being written by another process"):
            convert(MISTRAL, checkpoint, tmp_path / "out")

    convert(MISTRAL, checkpoint, tmp_path / "out", progress=convert_too)


SLOW_CONVERSION = """
import signal, sys, time
from pathlib import Path
from build_engines.checkpoint.convert import convert
from catalog import load_catalog
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
reports = []
def report(done, total):
    reports.append(done)
    print(done, total, flush=True)
    if len(reports) == 9:
        time.sleep(600)  # until the test has ended us
model = load_catalog()["mistral-7b"]
convert(model, Path(sys.argv[1]), Path(sys.argv[2]), tp_size=2, progress=report)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_conversion_that_is_killed_leaves_nothing_that_looks_finished(
    checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-c", SLOW_CONVERSION, str(checkpoint), str(output)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        done, total = map(int, [process.stdout.readline() for _ in range(9)][-1].split())
        assert 0 < done < total
        process.send_signal(number)
        assert process.wait(120) != 0
    assert not output.exists()
    left = [path.name for path in tmp_path.iterdir() if path != checkpoint]
    assert left == ([".out.partial"] if number is signal.SIGKILL else [])

    manifest = convert(MISTRAL, checkpoint, output, tp_size=2)
    assert manifest.files == convert(MISTRAL, checkpoint, tmp_path / "clean", tp_size=2).files
    assert not (tmp_path / ".out.partial").exists()
    assert json.loads((output / "config.json").read_text())["mapping"]["tp_size"] == 2
