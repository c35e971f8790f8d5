"""Values to choose from: a reply can become each of them, and nothing else."""

import json
from itertools import compress, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from guided_decoding.grammar import Grammars
from guided_decoding.guide import Guide
from guided_decoding.json_schema import checked_schema
from guided_decoding.vocabulary import Vocabulary
from support.null_repository import CHECKPOINT, vocab_size

MAX_REPLIES = 5000


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars(Vocabulary.load(Path(CHECKPOINT), vocab_size()))


@pytest.fixture(scope="module")
def characters() -> dict[int, str]:
    """The tokens of one printable ASCII character, of which every reply can be made."""
    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    texts = {i: tokenizer.decode([i], skip_special_tokens=False) for i in range(vocab_size())}
    return {i: text for i, text in texts.items() if len(text) == 1 and " " < text < "\x7f"}


def replies(grammars: Grammars, characters: dict[int, str], schema: dict[str, Any]) -> set[str]:
    """All that a reply of single characters can be."""
    guide = grammars.as_json_grammar(Guide("json_schema", checked_schema(json.dumps(schema))))
    grammar = grammars.compile(guide)
    found = set()
    beginnings: list[list[int]] = [[]]
    while beginnings:
        begin = beginnings.pop()
        follower = grammars.follow(grammar, list(grammars.end_ids))
        for token in begin:
            follower.accept(token)
        allowed = set(np.flatnonzero(follower.allowed()).tolist())
        if allowed.intersection(grammars.end_ids):
            found.add("".join(characters[token] for token in begin))
            assert len(found) < MAX_REPLIES
        beginnings += [[*begin, token] for token in allowed & characters.keys()]
    return found


VALUES = st.lists(
    st.one_of(st.text("ab", max_size=4), st.integers(-130, 130), st.sampled_from([None, True])),
    min_size=1,
    max_size=12,
)


@given(values=VALUES, more=VALUES)
@settings(max_examples=60)
def test_of_values_each_can_come_and_nothing_else(
    grammars: Grammars, characters: dict[int, str], values: list[Any], more: list[Any]
) -> None:
    expected = {json.dumps(each) for each in values}
    assert replies(grammars, characters, {"enum": values}) == expected
    either = {"anyOf": [{"enum": values}, *({"const": each} for each in more)]}
    assert replies(grammars, characters, either) == expected | {json.dumps(each) for each in more}


@pytest.mark.parametrize(("lowest", "highest"), [(-20, 117), (0, 199), (-3, 3), (95, 105)])
def test_a_range_of_integers_is_kept(
    grammars: Grammars, characters: dict[int, str], lowest: int, highest: int
) -> None:
    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    expected = {str(each) for each in range(lowest, highest + 1)}
    assert replies(grammars, characters, schema) == expected


def test_of_properties_that_may_be_missing_any_can_be(
    grammars: Grammars, characters: dict[int, str]
) -> None:
    values = {"a": 1, "ab": 12, "b": 2, "aba": 121}
    schema = {
        "type": "object",
        "properties": {name: {"const": value} for name, value in values.items()},
    }
    subsets = product([False, True], repeat=len(values))
    expected = {
        json.dumps(dict(compress(values.items(), each)), separators=(",", ":")) for each in subsets
    }
    assert replies(grammars, characters, schema) == expected
