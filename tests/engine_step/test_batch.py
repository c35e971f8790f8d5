"""Rows of a request are requests to the engine; the last to end is the end of them all."""

from typing import Any

import numpy as np
import pytest

from engine_step.batch import Batch, RowSender, row_id, rows_of
from engine_step.delivery import FINAL
from engine_step.interface import RequestRefusedError
from engine_step.tensors import Tensor


def tensors(lengths: list[int]) -> dict[str, Tensor]:
    return {
        "input_ids": np.array([[1, 2, 3]] * len(lengths), np.int32),
        "input_lengths": np.array(lengths, np.int32),
        "request_output_len": np.full(len(lengths), 5, np.int32),
    }


def test_each_row_has_its_prompt_without_padding() -> None:
    rows = rows_of(tensors([3, 1]))
    assert [each["input_ids"].tolist() for each in rows] == [[[1, 2, 3]], [[1]]]
    assert [each["request_output_len"].tolist() for each in rows] == [[5], [5]]


def test_a_lone_prompt_is_taken_whole_whatever_its_length_says() -> None:
    (one,) = rows_of(tensors([1]))
    assert one["input_ids"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("length", [-1, 4])
def test_a_length_outside_its_row_is_refused(length: int) -> None:
    with pytest.raises(RequestRefusedError, match=f"input_lengths must say .* one says {length}"):
        rows_of(tensors([3, length]))


def test_another_number_of_rows_is_refused() -> None:
    with pytest.raises(RequestRefusedError, match="end_id has 1 rows and input_ids 2"):
        rows_of(tensors([3, 3]) | {"end_id": np.array([0])})


def test_ids_of_rows_differ() -> None:
    assert [row_id("a", number) for number in range(3)] == ["a", "a#1", "a#2"]


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, int]] = []

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        return True


def test_only_the_last_row_to_end_ends_the_request() -> None:
    sender, ended = Sender(), [False]
    batch = Batch(sender, 2, lambda: ended.append(True))
    first, second = RowSender(batch), RowSender(batch)
    second.send("b", FINAL)
    first.send("a")
    assert ended == [False]
    first.send("c", FINAL)
    assert ended == [False, True]
    assert sender.sent == [("b", 0), ("a", 0), ("c", FINAL)]
    assert first.is_cancelled()
