"""Whatever the tokens and however they are cut, the pieces are the text of the whole."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from postprocessing.detokenizer import detokenizer_of
from postprocessing.vocabulary import Vocabulary, load_vocabulary
from support.tokenizers_for_tests import save_byte_level_bpe, save_sentencepiece_bpe

FAMILIES: dict[str, Callable[[Path], Tokenizer]] = {
    "byte-level": save_byte_level_bpe,
    "sentencepiece": save_sentencepiece_bpe,
}
NUM_SEQUENCES = 10_000
BLANKS = {"byte-level": "Ġ", "sentencepiece": "▁"}
Family = tuple[Tokenizer, Vocabulary]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    loaded = {}
    for name, save in FAMILIES.items():
        directory = tmp_path_factory.mktemp(name)
        loaded[name] = save(directory), load_vocabulary(directory)
    return loaded


def blank_of(tokenizer: Tokenizer, name: str) -> int:
    blank = tokenizer.token_to_id(BLANKS[name])
    assert blank is not None
    return blank


def chunks_of(tokens: list[int], sizes: list[int]) -> list[list[int]]:
    chunks, begin = [], 0
    for size in sizes:
        chunks.append(tokens[begin : begin + size])
        begin += size
    return [*chunks, tokens[begin:]]


def assert_pieces_are_the_text(
    family: Family, tokens: list[int], sizes: list[int], skip_special_tokens: bool
) -> None:
    tokenizer, vocabulary = family
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens)
    pieces = [detokenizer.push(chunk) for chunk in chunks_of(tokens, sizes)]
    assert "".join(pieces) + detokenizer.pending == tokenizer.decode(
        tokens, skip_special_tokens=skip_special_tokens
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_pieces_of_random_tokens_are_the_text_of_all(
    families: dict[str, Family], name: str
) -> None:
    tokenizer = families[name][0]
    rng = random.Random(name)
    any_token = range(tokenizer.get_vocab_size())
    # What breaks a detokenizer: bytes that are no character by themselves (in both families at the
    # low ids), blanks that come alone, special tokens between them. Half of the sequences are
    # made mostly of those.
    single_bytes = range(3, 260)
    special_or_blank = [0, 1, 2, blank_of(tokenizer, name)]
    hard = [single_bytes, single_bytes, special_or_blank, any_token]
    for number in range(NUM_SEQUENCES):
        length = rng.randrange(31)
        tokens = [rng.choice(rng.choice(hard) if number % 2 else any_token) for _ in range(length)]
        sizes = rng.choices(range(9), k=rng.randrange(13))
        assert_pieces_are_the_text(families[name], tokens, sizes, rng.random() < 0.5)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=200)
@given(text=st.text(max_size=40), data=st.data())
def test_pieces_of_any_text_are_that_text(
    families: dict[str, Family], name: str, text: str, data: st.DataObject
) -> None:
    tokens = families[name][0].encode(text, add_special_tokens=False).ids
    sizes = data.draw(st.lists(st.integers(0, 8), max_size=12))
    assert_pieces_are_the_text(families[name], tokens, sizes, skip_special_tokens=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_chunk_holds_a_part_of_a_character(families: dict[str, Family], name: str) -> None:
    tokenizer, vocabulary = families[name]
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens=True)
    tokens = tokenizer.encode("wind 東京 🌬️ é wind", add_special_tokens=False).ids
    pieces = [detokenizer.push([token]) for token in tokens]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 3


def test_text_is_held_back_only_while_a_character_is_incomplete(
    families: dict[str, Family],
) -> None:
    tokenizer, vocabulary = families["byte-level"]
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens=True)
    first, second = tokenizer.encode("ü", add_special_tokens=False).ids
    assert (detokenizer.push([first]), detokenizer.pending) == ("", "\N{REPLACEMENT CHARACTER}")
    assert (detokenizer.push([second]), detokenizer.pending) == ("ü", "")


def test_an_invalid_run_of_bytes_is_one_replacement_each(families: dict[str, Family]) -> None:
    tokenizer, vocabulary = families["sentencepiece"]
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens=True)
    run = [tokenizer.get_vocab()[f"<0x{byte:02X}>"] for byte in (0xE6, 0x9D)]
    assert (detokenizer.push(run), detokenizer.pending) == ("", "\N{REPLACEMENT CHARACTER}" * 2)
    word = tokenizer.encode("wind", add_special_tokens=False).ids
    assert detokenizer.push(word) == "\N{REPLACEMENT CHARACTER}" * 2 + " wind"


def test_the_first_blank_alone_is_stripped(families: dict[str, Family]) -> None:
    tokenizer, vocabulary = families["sentencepiece"]
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens=True)
    wind = tokenizer.encode("wind", add_special_tokens=False).ids
    assert [detokenizer.push(wind), detokenizer.push(wind)] == ["wind", " wind"]


def test_a_blank_that_comes_alone_is_the_first_one(families: dict[str, Family]) -> None:
    tokenizer, vocabulary = families["sentencepiece"]
    detokenizer = detokenizer_of(vocabulary, skip_special_tokens=True)
    wind = tokenizer.encode("wind", add_special_tokens=False).ids
    blank = blank_of(tokenizer, "sentencepiece")
    assert [detokenizer.push([blank]), detokenizer.push(wind)] == ["", " wind"]
