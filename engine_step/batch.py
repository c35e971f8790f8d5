"""A Triton request of several prompts: each row is a request of its own to the engine.

As with the C++ backend (NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
model_instance_state.cc) the responses of the rows come in any order, each with its `batch_index`,
and the last one of all is the final response.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine_step.delivery import FINAL, ResponseSender
from engine_step.interface import RequestRefusedError
from engine_step.tensors import Tensors


def rows_of(tensors: Tensors) -> list[Tensors]:
    """Split the inputs of a request, [n, ...] each, into those of n requests, [1, ...] each.

    The prompts of several rows are padded at the right; `input_lengths` says how long each is.

    Raises:
        RequestRefusedError: the tensors have different numbers of rows, or a length is wrong.
    """
    counts = {name: tensor.shape[0] if tensor.ndim else 0 for name, tensor in tensors.items()}
    size = counts.get("input_ids", 1)
    for name, count in counts.items():
        if count != size:
            raise RequestRefusedError(f"{name} has {count} rows and input_ids {size}")
    if size == 1:
        return [tensors]
    rows = [
        {name: tensor[row : row + 1] for name, tensor in tensors.items()} for row in range(size)
    ]
    return [_trimmed(row) for row in rows]


def _trimmed(row: Tensors) -> Tensors:
    padded, lengths = row["input_ids"], row.get("input_lengths")
    length = -1 if lengths is None or lengths.size != 1 else int(lengths.item())
    if padded.ndim != 2 or not 0 <= length <= padded.shape[1]:
        raise RequestRefusedError(
            f"input_lengths must say of each prompt how many of the {padded.shape[-1]} places of"
            f" its row it takes; one says {length}"
        )
    return {**row, "input_ids": padded[:, :length]}


def row_id(request_id: str, row: int) -> str:
    """Return the engine's id of a row: the request's own for the first, for most have one."""
    return f"{request_id}#{row}" if row else request_id


@dataclass(slots=True)
class Batch:
    """How many rows of a request are still to end; used by the one thread that sends."""

    sender: ResponseSender
    rows_left: int
    on_end: Callable[[], object]
    """Called when the last row has ended."""


class RowSender:
    """Sends the responses of one row; only the last row to end ends the request."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def send(self, response: Any = None, flags: int = 0) -> None:
        """Send one response."""
        if flags & FINAL:
            self._batch.rows_left -= 1
            if self._batch.rows_left:
                flags &= ~FINAL
            else:
                self._batch.on_end()
        if response is not None or flags & FINAL:
            self._batch.sender.send(response, flags)

    def is_cancelled(self) -> bool:
        """Whether the client has left."""
        return self._batch.sender.is_cancelled()
