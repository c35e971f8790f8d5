"""The ranks' shares together compute what the whole model computes, from either checkpoint form.

The ranks are threads here; tests of their processes are in test_tensor_parallel_engine.py.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from build_engines.checkpoint.convert import convert
from reference_engine.config import EngineConfig
from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.kv_cache import Row
from reference_engine.ranks.rank import load_rank
from reference_engine.ranks.share import Rank
from support import tiny_models
from support.checkpoints import make_stablelm

LENGTH = 40
BLOCK_SIZE = 16
ROW = Row(tiny_models.token_ids(LENGTH).tolist(), 0, [3, 1, 2])


def config_of(checkpoint: Path) -> EngineConfig:
    resolved = EngineConfig.resolve(checkpoint, dtype="float32", max_seq_len=LENGTH)
    return replace(resolved, num_blocks=4, block_size=BLOCK_SIZE)


def logits_of_ranks(checkpoint: Path, size: int, rendezvous: Path) -> list[torch.Tensor]:
    """Logits after the last token of ROW, as each rank knows them."""
    config = config_of(checkpoint)

    def compute(index: int) -> torch.Tensor:
        with torch.inference_mode():
            runner, collectives = load_rank(config, Rank(index, size))
            collectives.connect(rendezvous)
            return runner.forward([ROW])[0]

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(compute, range(size)))


def converted(shape: str, output: Path, size: int, *, parallel_embedding: bool = False) -> Path:
    convert(
        tiny_models.model_of(shape),
        tiny_models.checkpoint_of(shape),
        output,
        tp_size=size,
        dtype="float32",
        use_parallel_embedding=parallel_embedding,
    )
    return output


def assert_all_equal(found: list[torch.Tensor], expected: torch.Tensor) -> None:
    for logits in found:
        assert logits.shape == expected.shape
        assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 4])  # the Llamas have two key heads: four ranks share them
@pytest.mark.parametrize("form", ["huggingface", "converted"])
@pytest.mark.parametrize("shape", ["stablelm-zephyr-3b", "mistral-7b", "llama-2-70b", "llama-3.1"])
def test_ranks_compute_what_transformers_computes(
    tmp_path: Path, shape: str, form: str, size: int
) -> None:
    checkpoint = tiny_models.checkpoint_of(shape)
    if form == "converted":
        checkpoint = converted(shape, tmp_path / "converted", size)
    found = logits_of_ranks(checkpoint, size, tmp_path / "rendezvous")
    assert_all_equal(found, tiny_models.expected_logits(shape, LENGTH)[-1])


def test_norms_of_heads_and_biases_are_shared_too(tmp_path: Path) -> None:
    checkpoint = make_stablelm(tmp_path, norm_and_parallel=True)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.inference_mode():
        expected = model(torch.tensor([ROW.tokens])).logits[0, -1]
    assert_all_equal(logits_of_ranks(checkpoint, 2, tmp_path / "rendezvous"), expected)


def test_an_embedding_split_by_vocabulary_is_put_together(tmp_path: Path) -> None:
    checkpoint = converted("llama-2-70b", tmp_path / "converted", 2, parallel_embedding=True)
    found = logits_of_ranks(checkpoint, 2, tmp_path / "rendezvous")
    assert_all_equal(found, tiny_models.expected_logits("llama-2-70b", LENGTH)[-1])


def test_a_checkpoint_in_several_files_with_tied_embeddings_is_read(tmp_path: Path) -> None:
    source = tiny_models.checkpoint_of("llama-2-70b")
    model = AutoModelForCausalLM.from_pretrained(source, tie_word_embeddings=True)
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    with torch.inference_mode():
        expected = model(torch.tensor([ROW.tokens])).logits[0, -1]
    assert_all_equal(logits_of_ranks(tmp_path, 2, tmp_path / "rendezvous"), expected)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (3, "tensor_parallel_size 3 does not divide num_attention_heads 16"),
        (2, "was converted for 4 ranks, but tensor_parallel_size is 2"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(tmp_path: Path, size: int, reason: str) -> None:
    checkpoint = tiny_models.checkpoint_of("llama-2-70b")
    if size == 2:
        checkpoint = converted("llama-2-70b", tmp_path / "converted", 4)
    with pytest.raises(CheckpointError, match=reason):
        load_rank(config_of(checkpoint), Rank(0, size))


@pytest.mark.parametrize("form", ["huggingface", "converted"])
@pytest.mark.parametrize("damage", ["missing", "has shape"])
def test_damaged_weights_are_named(tmp_path: Path, form: str, damage: str) -> None:
    directory = tmp_path / "checkpoint"
    if form == "converted":
        converted("mistral-7b", directory, 1)
        path, name = directory / "rank0.safetensors", "transformer.layers.1.mlp.proj.weight"
    else:
        tiny_models.make_checkpoint(directory, "mistral-7b")
        path, name = directory / "model.safetensors", "model.layers.1.mlp.down_proj.weight"
    tensors = load_file(path)
    tensor = tensors.pop(name)
    if damage == "has shape":
        tensors[name] = tensor[:-1].contiguous()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=f"{name} .*{damage}"):
        load_rank(config_of(directory), Rank(0, 1))


def test_a_quantized_or_unknown_conversion_is_refused_by_name(tmp_path: Path) -> None:
    converted("mistral-7b", tmp_path / "out", 1)
    path = tmp_path / "out" / "config.json"
    tiny_models.edit_json(path, quantization={"quant_algo": "FP8"})
    with pytest.raises(CheckpointError, match="quantization FP8 cannot be served"):
        load_rank(config_of(tmp_path / "out"), Rank(0, 1))
    tiny_models.edit_json(path, quantization={}, architecture="FalconForCausalLM")
    with pytest.raises(CheckpointError, match="'FalconForCausalLM'"):
        load_rank(config_of(tmp_path / "out"), Rank(0, 1))
