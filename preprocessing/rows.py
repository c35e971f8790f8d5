"""A Triton request of several prompts: its rows apart, and what came of them together again."""

from collections.abc import Mapping, Sequence

import numpy as np

from aeolus_contract.failures import InvalidRequestError

Tensor = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Tensors = Mapping[str, Tensor]

# What fills a row up to the longest one, by output; and what a row has that needs no such output,
# where another one does.
PADDING: dict[str, object] = {"STOP_WORDS_TEXTS": b""}
NOTHING: dict[str, object] = {
    "STOP_WORDS_IDS": [[-1], [-1]],
    "STOP_WORDS_TEXTS": [b""],
    "BAD_WORDS_IDS": [[-1], [-1]],
    "EMBEDDING_BIAS": [0.0],
    "OUT_MIN_TOKENS": [0],
}


def rows_of(tensors: Tensors) -> list[Tensors]:
    """Split the inputs of a request, [n, ...] each, into n of [1, ...].

    Raises:
        InvalidRequestError: the tensors have different numbers of rows.
    """
    counts = {name: tensor.shape[0] if tensor.ndim else 0 for name, tensor in tensors.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise InvalidRequestError(f"each tensor must have a row for each prompt; rows: {counts}")
    return [
        {name: tensor[row : row + 1] for name, tensor in tensors.items()}
        for row in range(max(counts.values(), default=1))
    ]


def together(rows: Sequence[Tensors], pad_id: int) -> dict[str, Tensor]:
    """Return the outputs of several prompts, [1, ...] each, as those of one request, [n, ...].

    Shorter prompts are padded at the right with `pad_id`, word lists with -1.

    Raises:
        InvalidRequestError: the engine would have to be asked for one prompt what it is not asked
            for another, such as sampling values that differ by what they mean.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _joined(name, rows, pad_id) for name in names}


def _joined(name: str, rows: Sequence[Tensors], pad_id: int) -> Tensor:
    example = next(row[name] for row in rows if name in row)
    parts = []
    for number, row in enumerate(rows):
        if name not in row and name not in NOTHING:
            raise InvalidRequestError(
                f"prompt {number} needs no {name.removeprefix('OUT_').lower()} and another one "
                "does; send them as requests of their own"
            )
        part = row[name] if name in row else np.array([NOTHING[name]], dtype=example.dtype)
        parts.append(part)
    longest = max(part.shape[-1] for part in parts)
    fill = (
        pad_id if name == "INPUT_ID" else PADDING.get(name, 0 if name == "EMBEDDING_BIAS" else -1)
    )
    padded = [_padded(part, longest, fill) for part in parts]
    return np.concatenate(padded)


def _padded(part: Tensor, length: int, fill: object) -> Tensor:
    shape = (*part.shape[:-1], length - part.shape[-1])
    return np.concatenate([part, np.full(shape, fill, dtype=part.dtype)], axis=-1)
