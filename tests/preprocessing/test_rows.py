"""A request of several prompts is split into rows, and their outputs are one request's again."""

import numpy as np
import pytest

from aeolus_contract.failures import InvalidRequestError
from preprocessing.rows import Tensor, rows_of, together
from preprocessing.words import word_list


def row(**values: Tensor) -> dict[str, Tensor]:
    return values


def test_rows_are_requests_of_one() -> None:
    tensors: dict[str, Tensor] = {
        "QUERY": np.array([[b"a"], [b"b"]], np.object_),
        "SEED": np.array([[1], [2]], np.uint64),
    }
    first, second = rows_of(tensors)
    assert (first["QUERY"].tolist(), first["SEED"].tolist()) == ([[b"a"]], [[1]])
    assert (second["QUERY"].tolist(), second["SEED"].tolist()) == ([[b"b"]], [[2]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_tensor_with_another_number_of_rows_is_refused(count: int) -> None:
    tensors: dict[str, Tensor] = {"A": np.zeros((2, 1)), "B": np.zeros((count, 1))}
    with pytest.raises(InvalidRequestError, match="a row for each prompt"):
        rows_of(tensors)


def test_shorter_prompts_and_word_lists_are_padded() -> None:
    joined = together(
        [
            row(
                INPUT_ID=np.array([[1, 2, 3]]), STOP_WORDS_IDS=word_list([[5, 6], [7]])[np.newaxis]
            ),
            row(INPUT_ID=np.array([[4]])),
            row(INPUT_ID=np.array([[4, 5]]), STOP_WORDS_IDS=word_list([[8]])[np.newaxis]),
        ],
        pad_id=9,
    )
    assert joined["INPUT_ID"].tolist() == [[1, 2, 3], [4, 9, 9], [4, 5, 9]]
    assert joined["STOP_WORDS_IDS"].tolist() == [
        [[5, 6, 7], [2, 3, -1]],
        [[-1, -1, -1], [-1, -1, -1]],
        [[8, -1, -1], [1, -1, -1]],
    ]


def test_a_value_that_only_some_prompts_have_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="prompt 1 needs no temperature and another"):
        together([row(OUT_TEMPERATURE=np.array([[0.5]])), row()], pad_id=0)
