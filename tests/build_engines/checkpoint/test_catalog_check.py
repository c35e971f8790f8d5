"""A checkpoint that is not what the catalog says of its model is named with both values."""

import json
from pathlib import Path

import pytest

from build_engines.checkpoint.catalog_check import catalog_differences
from build_engines.checkpoint.huggingface_config import CheckpointError
from catalog import load_catalog
from support.tiny_models import edit_json
from support.trtllm_engines import make_source

CATALOG = load_catalog()
LLAMA = CATALOG["llama-3-8b-instruct"]


@pytest.mark.parametrize("name", CATALOG)
def test_the_checkpoint_of_the_catalog_does_not_differ(tmp_path: Path, name: str) -> None:
    source = make_source(tmp_path / "source", CATALOG[name])
    assert catalog_differences(CATALOG[name], source) == []


def test_eos_ids_are_compared_whatever_their_order_and_form(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", LLAMA)
    generation = source / "generation_config.json"
    edit_json(generation, eos_token_id=[128009, 128001])
    assert catalog_differences(LLAMA, source) == []
    edit_json(generation, eos_token_id=128001)  # an early revision of Llama 3
    (difference,) = catalog_differences(LLAMA, source)
    assert "its EOS ids are 128001, those of llama-3-8b-instruct in the catalog 128001, 128009" in (
        difference
    )


def test_a_checkpoint_without_eos_ids_differs(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", LLAMA)
    (source / "generation_config.json").unlink()
    (difference,) = catalog_differences(LLAMA, source)
    assert "its EOS ids are none, those of" in difference


def test_another_vocabulary_is_named_with_both_sizes(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", LLAMA)
    edit_json(source / "config.json", vocab_size=128258)
    (difference,) = catalog_differences(LLAMA, source)
    assert "its vocabulary is 128258, that of llama-3-8b-instruct in the catalog 128256" in (
        difference
    )


def test_a_file_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", LLAMA)
    (source / "generation_config.json").write_text(json.dumps({})[:-1])
    with pytest.raises(CheckpointError, match=r"generation_config\.json: "):
        catalog_differences(LLAMA, source)
