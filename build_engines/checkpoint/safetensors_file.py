"""The safetensors format, read as memory maps and written as a stream.

The library's own writer wants every tensor of a file in memory at once. A file is the length of a
JSON header in 8 bytes, little-endian; the header; then the tensors without gaps
(huggingface/safetensors, README.md, "Format").
"""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
"""NumPy's types of the float types that a checkpoint is converted from and to."""

ALIGNMENT = 8
MAX_HEADER_BYTES = 100_000_000


class SafetensorsError(ValueError):
    """The file is not what its header says, or has none; the text names the file."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies in a file: type as the format names it, bytes from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size in bytes and SHA-256, in hexadecimal, of a whole file."""

    size: int
    sha256: str


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read what tensors a file holds, and check that it holds them to the last byte.

    Raises:
        SafetensorsError: it is missing, cut short, or no safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = 8 + int.from_bytes(file.read(8), "little")
            if not 8 < start <= min(size, MAX_HEADER_BYTES):
                raise SafetensorsError(
                    f"{path}: cut short or no safetensors file ({size:,} bytes); copy it again"
                )
            header: dict[str, Any] = json.loads(file.read(start - 8))
        header.pop("__metadata__", None)
        tensors = {
            name: TensorInfo(
                str(entry["dtype"]),
                tuple(map(int, entry["shape"])),
                *(start + int(offset) for offset in entry["data_offsets"]),
            )
            for name, entry in header.items()
        }
    except OSError as error:
        raise SafetensorsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SafetensorsError):
            raise
        raise SafetensorsError(
            f"{path}: the header is not a safetensors header: {error!r}"
        ) from error
    _check_extent(path, tensors, start, size)
    return tensors


def _check_extent(path: Path, tensors: Mapping[str, TensorInfo], start: int, size: int) -> None:
    """Refuse a file with too few bytes, gaps, or a tensor of other bytes than its shape needs."""
    expected = max((info.end for info in tensors.values()), default=start)
    if size != expected:
        raise SafetensorsError(
            f"{path}: has {size:,} bytes where its header needs {expected:,}; copy it again"
        )
    position = start
    for name, info in sorted(tensors.items(), key=lambda item: item[1].begin):
        itemsize = DTYPES[info.dtype].itemsize if info.dtype in DTYPES else None
        wrong_size = itemsize and info.end - info.begin != math.prod(info.shape) * itemsize
        if info.begin != position or wrong_size:
            raise SafetensorsError(f"{path}: {name}: offsets do not fit its shape; copy it again")
        position = info.end


def map_tensor(path: Path, info: TensorInfo) -> NDArray[Any]:
    """Map one tensor read-only; its pages are given back when the array is dropped."""
    return np.memmap(path, DTYPES[info.dtype], mode="r", offset=info.begin, shape=info.shape)


class SafetensorsWriter:
    """Writes a file from front to back, its header first, hashing what it writes."""

    def __init__(self, path: Path, dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Create the file and write its header; all tensors are of `dtype`.

        Raises:
            OSError: the file exists or cannot be written.
        """
        itemsize = DTYPES[dtype].itemsize
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        position = 0
        for name, shape in shapes.items():
            end = position + math.prod(shape) * itemsize
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (position, end)}
            position = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        self._path = path
        self._file = path.open("xb")
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._expected = 8 + len(text) + position
        self.write(len(text).to_bytes(8, "little") + text)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the tensors, in the order and form in which the header lists them."""
        self._size += self._file.write(data)
        self._sha256.update(data)

    def close(self) -> FileDigest:
        """Force the file to disk.

        Raises:
            SafetensorsError: other bytes were written than the header promises.
            OSError: they cannot be stored.
        """
        if self._size != self._expected:
            raise SafetensorsError(f"{self._path}: {self._size:,} bytes of {self._expected:,}")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileDigest(self._size, self._sha256.hexdigest())

    def abandon(self) -> None:
        """Close the file as it is, after an error; harmless after `close`."""
        # What is still buffered may find the disk as full as before.
        with contextlib.suppress(OSError):
            self._file.close()
