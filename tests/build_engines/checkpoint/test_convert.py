"""Weights are copied to the bit, from every format, in little memory, and once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.manifest import Manifest, digest
from build_engines.checkpoint.partial_directory import ConversionError
from catalog import load_catalog
from support import tiny_models
from support.sparse_checkpoints import make_sparse_checkpoint

MISTRAL = load_catalog()["mistral-7b"]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_rank(directory: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(directory / f"rank{rank}.safetensors")
    return tensors


def bits(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.contiguous().view(torch.uint8).numpy()


def expected_rank(source: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The one rank of a Mistral, said by hand."""
    cast = {name: tensor.to(dtype) for name, tensor in source.items()}
    expected = {
        "transformer.vocab_embedding.weight": cast["model.embed_tokens.weight"],
        "transformer.ln_f.weight": cast["model.norm.weight"],
        "lm_head.weight": cast["lm_head.weight"],
    }
    for layer in range(2):
        of, to = f"model.layers.{layer}.", f"transformer.layers.{layer}."
        expected |= {
            f"{to}input_layernorm.weight": cast[f"{of}input_layernorm.weight"],
            f"{to}post_layernorm.weight": cast[f"{of}post_attention_layernorm.weight"],
            f"{to}attention.qkv.weight": torch.cat(
                [cast[f"{of}self_attn.{each}_proj.weight"] for each in "qkv"]
            ),
            f"{to}attention.dense.weight": cast[f"{of}self_attn.o_proj.weight"],
            f"{to}mlp.fc.weight": cast[f"{of}mlp.gate_proj.weight"],
            f"{to}mlp.gate.weight": cast[f"{of}mlp.up_proj.weight"],
            f"{to}mlp.proj.weight": cast[f"{of}mlp.down_proj.weight"],
        }
    return expected


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_tensor_is_the_cast_source_to_the_bit(
    tmp_path: Path, stored: str, dtype: Any
) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b", DTYPES[stored])
    convert(MISTRAL, checkpoint, tmp_path / "out", dtype=dtype)
    expected = expected_rank(load_file(checkpoint / "model.safetensors"), DTYPES[dtype])
    converted = load_rank(tmp_path / "out")
    assert converted.keys() == expected.keys()
    for name, tensor in converted.items():
        assert tensor.dtype == DTYPES[dtype]
        np.testing.assert_array_equal(bits(tensor), bits(expected[name]), err_msg=name)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


def test_the_type_the_ranks_and_the_quantization_are_by_default_the_plans(tmp_path: Path) -> None:
    model = load_catalog()["llama-2-70b"]
    convert(model, tiny_models.checkpoint_of("llama-2-70b"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["dtype"], config["mapping"]["tp_size"]) == ("float16", 2)
    assert config["quantization"]["quant_algo"] is None
    assert load_rank(tmp_path / "out", 1)["lm_head.weight"].dtype == torch.float16


def _as_pickle(checkpoint: Path, shards: int) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    if shards == 1:
        torch.save(tensors, checkpoint / "pytorch_model.bin")
        return
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        names = sorted(tensors)[shard::shards]
        torch.save({name: tensors[name] for name in names}, checkpoint / file)
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("form", ["sharded safetensors", "one .bin", "sharded .bin"])
def test_every_form_of_a_checkpoint_converts_alike(tmp_path: Path, form: str) -> None:
    one = tiny_models.make_checkpoint(tmp_path / "one", "mistral-7b", torch.bfloat16)
    options: dict[str, Any] = {"max_shard_size": "300KB"} if form == "sharded safetensors" else {}
    other = tiny_models.make_checkpoint(tmp_path / "other", "mistral-7b", torch.bfloat16, **options)
    if form.endswith(".bin"):
        _as_pickle(other, shards=1 if form.startswith("one") else 3)
    else:
        assert len(list(other.glob("model-*.safetensors"))) > 1
    expected = convert(MISTRAL, one, tmp_path / "from-one").files
    assert convert(MISTRAL, other, tmp_path / "from-other", allow_pickle=True).files == expected


def test_tied_embeddings_are_the_output_matrix(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, checkpoint / "model.safetensors")
    tiny_models.edit_json(checkpoint / "config.json", tie_word_embeddings=True)
    convert(MISTRAL, checkpoint, tmp_path / "out", dtype="float32")
    converted = load_rank(tmp_path / "out")
    assert torch.equal(converted["lm_head.weight"], converted["transformer.vocab_embedding.weight"])


def test_rotary_buffers_of_old_checkpoints_are_left_out(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")
    file = checkpoint / "model.safetensors"
    buffer = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)}
    save_file(load_file(file) | buffer, file)
    convert(MISTRAL, checkpoint, tmp_path / "out")
    assert len(load_rank(tmp_path / "out")) == 2 * 7 + 3


def test_the_manifest_has_the_digest_of_every_file_and_the_source(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")
    note = {"repository": "mistralai/Mistral-7B-v0.1", "revision": "ab" * 20}
    (checkpoint / "snapshot.json").write_text(json.dumps(note))
    manifest = convert(MISTRAL, checkpoint, tmp_path / "out", tp_size=2)
    assert manifest == Manifest.read(tmp_path / "out")
    assert manifest.files == {
        name: digest(tmp_path / "out" / name)
        for name in ("config.json", "rank0.safetensors", "rank1.safetensors")
    }
    assert manifest.source.snapshot is not None
    assert manifest.source.snapshot.revision == note["revision"]
    assert manifest.source.files.keys() == {"config.json", "model.safetensors"}
    assert (manifest.conversion.model, manifest.conversion.tp_size) == ("mistral-7b", 2)


def test_a_snapshot_in_the_hub_cache_is_known_by_its_path(tmp_path: Path) -> None:
    revision = "cd" * 20
    cached = tmp_path / "models--mistralai--Mistral-7B-v0.1" / "snapshots" / revision
    tiny_models.make_checkpoint(cached, "mistral-7b")
    snapshot = convert(MISTRAL, cached, tmp_path / "out").source.snapshot
    assert snapshot is not None
    assert (snapshot.repository, snapshot.revision) == ("mistralai/Mistral-7B-v0.1", revision)


def test_converting_the_same_again_does_nothing(tmp_path: Path) -> None:
    checkpoint = tiny_models.checkpoint_of("mistral-7b")
    first = convert(MISTRAL, checkpoint, tmp_path / "out")
    before = (tmp_path / "out" / "rank0.safetensors").stat()
    calls: list[tuple[int, int]] = []
    second = convert(
        MISTRAL, checkpoint, tmp_path / "out", progress=lambda *each: calls.append(each)
    )
    after = (tmp_path / "out" / "rank0.safetensors").stat()
    assert (second, calls) == (first, [])
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_converting_something_else_to_the_same_place_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny_models.make_checkpoint(tmp_path / "source", "mistral-7b")
    output = tmp_path / "out"
    convert(MISTRAL, checkpoint, output)
    with pytest.raises(ConversionError, match="another tp_size"):
        convert(MISTRAL, checkpoint, output, tp_size=2)
    (checkpoint / "model.safetensors").touch()
    with pytest.raises(ConversionError, match="another source"):
        convert(MISTRAL, checkpoint, output)


def test_progress_counts_every_byte_of_every_rank(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    checkpoint = tiny_models.checkpoint_of("mistral-7b")
    convert(
        MISTRAL,
        checkpoint,
        tmp_path / "out",
        tp_size=2,
        progress=lambda *each: calls.append(each),
    )
    done = [each for each, _ in calls]
    weights = [t for rank in range(2) for t in load_rank(tmp_path / "out", rank).values()]
    total = sum(tensor.nbytes for tensor in weights)
    assert done == sorted(done)
    assert calls[-1] == (total, total)


MEASURE = """
import sys
from pathlib import Path
from build_engines.checkpoint.convert import convert
from catalog import load_catalog
convert(load_catalog()["mistral-7b"], Path(sys.argv[1]), Path(sys.argv[2]), tp_size=2)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def _peak_bytes(checkpoint: Path, output: Path) -> int:
    command = [sys.executable, "-c", MEASURE, str(checkpoint), str(output)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024


@pytest.mark.slow
def test_memory_stays_under_twice_the_largest_tensor(tmp_path: Path) -> None:
    config = json.loads((Path(__file__).parent / "huggingface_configs.json").read_text())
    smaller = {"num_hidden_layers": 2, "vocab_size": 16, "hidden_size": 2048}
    wide = make_sparse_checkpoint(tmp_path / "wide", MISTRAL, config["mistral-7b-v0.1"] | smaller)
    largest = 2 * 2048 * 14336
    baseline = _peak_bytes(tiny_models.checkpoint_of("mistral-7b"), tmp_path / "tiny-out")
    extra = _peak_bytes(wide, tmp_path / "wide-out") - baseline
    assert extra < 2 * largest, f"{extra:,} bytes"
