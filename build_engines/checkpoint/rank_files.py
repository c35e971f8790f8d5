"""Writing rank files: every rank's share of every weight, in one pass over the checkpoint."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.huggingface_weights import StoredTensor
from build_engines.checkpoint.layout import Layout
from build_engines.checkpoint.safetensors_file import DTYPES, FileDigest, SafetensorsWriter
from build_engines.checkpoint.split import Region, Share

Progress = Callable[[int, int], None]
"""Called with the bytes written and the bytes to write."""

BLOCK_BYTES = 16 << 20
"""Most of a tensor that is copied at once."""


def rank_file(rank: int) -> str:
    """The name of a rank's file."""
    return f"rank{rank}.safetensors"


def write_rank_files(
    directory: Path,
    layout: Layout,
    weights: Mapping[str, StoredTensor],
    dtype: str,
    progress: Progress,
) -> dict[str, FileDigest]:
    """Write the files of all ranks, every tensor of type `dtype` (as safetensors names it).

    Memory holds what is mapped of one weight's sources, and one block in its old and new type.

    Returns:
        The digests by file name.

    Raises:
        CheckpointError: a value is not a number, infinite, or does not fit `dtype`.
        OSError: a file cannot be written.
    """
    done, total = 0, layout.nbytes(dtype)
    with ExitStack() as open_files:
        writers = {}
        for rank in range(layout.num_ranks):
            writer = SafetensorsWriter(directory / rank_file(rank), dtype, layout.shapes)
            open_files.callback(writer.abandon)
            writers[rank_file(rank)] = writer
        for tensor in layout.tensors:
            sources = {name: weights[name].read() for name in tensor.sources}
            for writer, share in zip(writers.values(), tensor.shares, strict=True):
                for block in _blocks(share, sources, DTYPES[dtype]):
                    writer.write(block.reshape(-1).view(np.uint8).data)
                    done += block.nbytes
                    progress(done, total)
        return {name: writer.close() for name, writer in writers.items()}


def _blocks(
    share: Share, sources: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """The share's rows from the top, contiguous and of the new type, a few at a time."""
    written = 0
    for region in share.regions:
        for rows in _runs(sources[region.source], region):
            block = np.ascontiguousarray(_cast(rows, dtype, region.source))
            written += block.size
            yield block
    if padding := math.prod(share.shape) - written:
        yield np.zeros(padding, dtype)


def _runs(source: NDArray[Any], region: Region) -> Iterator[NDArray[Any]]:
    row_bytes = source.nbytes // len(source)
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(region.rows.start, region.rows.stop, step):
        rows = source[start : min(start + step, region.rows.stop)]
        yield rows if region.columns is None else rows[:, region.columns]


def _cast(rows: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = rows.astype(dtype, copy=False)
    if not is_finite(cast):
        require_finite(rows, name)
        raise CheckpointError(
            f"{name}: holds values beyond the largest of {dtype}; convert to bfloat16"
        )
    return cast


def require_finite(rows: NDArray[Any], name: str) -> None:
    """Refuse infinite values and NaN in (a part of) a tensor.

    Raises:
        CheckpointError: there are such; the text names the tensor.
    """
    if not is_finite(rows):
        raise CheckpointError(
            f"{name}: holds values that are not numbers (NaN) or infinite; the checkpoint is "
            "damaged: fetch it again, or take another revision"
        )


def is_finite(rows: NDArray[Any]) -> bool:
    """Whether no value is infinite or NaN: without their signs the bits of both are the highest."""
    bits = rows.view(np.dtype(f"u{rows.dtype.itemsize}"))
    infinity = np.array(np.inf, rows.dtype).view(bits.dtype)
    magnitudes = bits & (bits.dtype.type(-1 % 2 ** (8 * bits.dtype.itemsize)) >> 1)
    return bool(magnitudes.max() < infinity)
