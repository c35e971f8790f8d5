"""Which tokenizers can be decoded, and what is said of the others."""

import json
from pathlib import Path

import pytest

from postprocessing.vocabulary import UnsupportedTokenizerError, load_vocabulary
from support.tokenizers_for_tests import save_byte_level_bpe


def change_tokenizer(directory: Path, **fields: object) -> None:
    path = directory / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_all_eos_ids_count_as_special(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 300]}')
    assert load_vocabulary(tmp_path).special_ids == {0, 1, 300}


def test_the_eos_ids_of_the_model_config_count_where_there_is_no_other(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    (tmp_path / "config.json").write_text('{"eos_token_id": [0, 301]}')
    assert load_vocabulary(tmp_path).special_ids == {0, 1, 301}


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTokenizerError, match=r"tokenizer\.json"):
        load_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (None, "its decoder is missing"),
        ({"type": "WordPiece", "prefix": "##", "cleanup": True}, r"its decoder is \['WordPiece'\]"),
    ],
)
def test_a_tokenizer_of_no_known_family_is_refused(
    tmp_path: Path, decoder: object, reason: str
) -> None:
    save_byte_level_bpe(tmp_path)
    change_tokenizer(tmp_path, decoder=decoder)
    with pytest.raises(UnsupportedTokenizerError, match=reason):
        load_vocabulary(tmp_path)


def test_a_model_that_is_no_bpe_is_refused(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    change_tokenizer(tmp_path, model={"type": "Unigram", "vocab": [["<unk>", 0.0]]})
    with pytest.raises(UnsupportedTokenizerError, match="its model is Unigram; known is BPE"):
        load_vocabulary(tmp_path)
