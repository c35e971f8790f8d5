"""Reading the weights of a Hugging Face checkpoint."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from safetensors import safe_open

from reference_engine.model.checkpoint import CheckpointError

Region = tuple[slice, ...]
"""The part of a tensor by dimension, as in `tensor[region]`."""

WEIGHTS = "model.safetensors"
OUTPUT_MATRIX, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class Weights(Protocol):
    """Where a model's parameters come from."""

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        """Return `region` of the parameter that transformers calls `name` and is of `shape`.

        It may be a view of the file.

        Raises:
            CheckpointError: it is missing or of another shape.
        """
        ...


class HuggingFaceWeights:
    """The *.safetensors files of a Hugging Face checkpoint; only what is asked for is read.

    Args:
        directory: the checkpoint.
        is_tied: whether the embedding is the output matrix where the files have none.

    Raises:
        CheckpointError: a file is missing or damaged.
    """

    def __init__(self, directory: Path, *, is_tied: bool) -> None:
        self._directory = directory
        self._is_tied = is_tied
        with ExitStack() as stack:
            self._files = {
                name: file
                for path in _weight_files(directory)
                for file in [open_weights(path, stack)]
                for name in file.keys()  # noqa: SIM118 - a safetensors file is not a container
            }
            self._stack = stack.pop_all()

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        """Return a region of a parameter; see `Weights.read`."""
        if name == OUTPUT_MATRIX and self._is_tied and name not in self._files:
            name = EMBEDDING
        if name not in self._files:
            raise CheckpointError(
                f"{self._directory}: {name} is missing; copy the checkpoint again, all"
                " *.safetensors files with config.json"
            )
        tensor = self._files[name].get_slice(name)
        check_shape(self._directory, name, tensor.get_shape(), shape)
        share: torch.Tensor = tensor[region]
        return share

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _weight_files(directory: Path) -> list[Path]:
    index = directory / f"{WEIGHTS}.index.json"
    if not index.is_file():
        return [directory / WEIGHTS]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: the weights cannot be read: {error!r}") from error
    return [directory / str(name) for name in sorted(names)]


def open_weights(path: Path, files: ExitStack) -> Any:
    """Open a safetensors file for as long as `files` is.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return files.enter_context(safe_open(path, framework="pt"))
    except Exception as error:  # whatever safetensors raises on an absent or a broken file
        raise CheckpointError(f"{path}: the weights cannot be read: {error}") from error


def check_shape(directory: Path, name: str, found: Sequence[int], expected: Sequence[int]) -> None:
    """Compare a tensor's shape with what config.json says.

    Raises:
        CheckpointError: they differ.
    """
    if tuple(found) != tuple(expected):
        raise CheckpointError(
            f"{directory}: {name} has shape {list(found)}, but config.json makes it"
            f" {list(expected)}; config.json and weights are not of one checkpoint"
        )
