"""A checkpoint of one's own becomes a repository that serves it."""

import json
from pathlib import Path

import pytest

from build_engines.checkpoint.convert import convert
from build_engines.repository import RepositoryError
from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from support import tiny_models

MISTRAL = load_catalog()["mistral-7b"]


def make_config(directory: Path, **fields: object) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(fields))
    return directory


def test_the_steps_are_pointed_at_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = make_config(
        tmp_path / "checkpoint",
        architectures=["MistralForCausalLM"],
        max_position_embeddings=32768,
    )
    repository = assemble_reference(MISTRAL, checkpoint, tmp_path / "models", dtype="bfloat16")
    assert repository.models == ["ensemble", "postprocessing", "preprocessing", "tensorrt_llm"]
    engine = repository.read("tensorrt_llm").parameters
    assert engine["checkpoint_dir"].string_value == str(checkpoint)
    assert engine["dtype"].string_value == "bfloat16"
    for model in ("preprocessing", "postprocessing"):
        assert repository.read(model).parameters["tokenizer_dir"].string_value == str(checkpoint)
    for model in ("preprocessing", "tensorrt_llm"):
        assert repository.read(model).parameters["max_seq_len"].string_value == "4096"


def test_a_checkpoint_with_fewer_positions_limits_the_sequence(tmp_path: Path) -> None:
    checkpoint = make_config(
        tmp_path / "checkpoint", architectures=["MistralForCausalLM"], max_position_embeddings=512
    )
    repository = assemble_reference(MISTRAL, checkpoint, tmp_path / "models")
    assert repository.read("preprocessing").parameters["max_seq_len"].string_value == "512"


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    checkpoint = make_config(
        tmp_path / "checkpoint", architectures=["LlamaForCausalLM"], max_position_embeddings=4096
    )
    with pytest.raises(RepositoryError, match="is a LlamaForCausalLM, but mistral-7b is a Mistral"):
        assemble_reference(MISTRAL, checkpoint, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"architectures": ["MistralForCausalLM"]}'])
def test_a_directory_without_a_usable_config_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RepositoryError, match=r"config\.json: not a Hugging Face checkpoint"):
        assemble_reference(MISTRAL, tmp_path, tmp_path / "models")


def test_ranks_are_as_many_as_asked_for(tmp_path: Path) -> None:
    checkpoint = tiny_models.checkpoint_of("mistral-7b")
    for size, found in ((None, "1"), (2, "2")):
        repository = assemble_reference(
            MISTRAL, checkpoint, tmp_path / found, tensor_parallel_size=size
        )
        engine = repository.read("tensorrt_llm").parameters
        assert engine["tensor_parallel_size"].string_value == found


def test_a_converted_checkpoint_says_itself_how_many_ranks_it_has(tmp_path: Path) -> None:
    source = tiny_models.checkpoint_of("stablelm-zephyr-3b")
    stablelm, converted = load_catalog()["stablelm-zephyr-3b"], tmp_path / "converted"
    convert(stablelm, source, converted, tp_size=2)
    repository = assemble_reference(stablelm, converted, tmp_path / "models", tokenizer=source)
    engine = repository.read("tensorrt_llm").parameters
    assert engine["checkpoint_dir"].string_value == str(converted)
    assert engine["tensor_parallel_size"].string_value == "2"
    for model in ("preprocessing", "postprocessing"):
        assert repository.read(model).parameters["tokenizer_dir"].string_value == str(source)
    with pytest.raises(RepositoryError, match="was converted for 2 ranks, not 4"):
        assemble_reference(stablelm, converted, tmp_path / "no", tensor_parallel_size=4)
    with pytest.raises(RepositoryError, match="has no tokenizer"):
        assemble_reference(stablelm, converted, tmp_path / "no")
    with pytest.raises(RepositoryError, match="is a GPTForCausalLM, but mistral-7b is a Mistral"):
        assemble_reference(MISTRAL, converted, tmp_path / "no", tokenizer=source)


def test_a_damaged_conversion_is_refused(tmp_path: Path) -> None:
    convert(MISTRAL, tiny_models.checkpoint_of("mistral-7b"), tmp_path / "converted")
    tiny_models.edit_json(tmp_path / "converted" / "config.json", vocab_size=None)
    with pytest.raises(RepositoryError, match=r"not a TensorRT-LLM checkpoint: .*vocab_size"):
        assemble_reference(MISTRAL, tmp_path / "converted", tmp_path / "models")
