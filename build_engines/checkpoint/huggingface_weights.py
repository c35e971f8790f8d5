"""The weights of a Hugging Face checkpoint: safetensors or PyTorch files, one or many."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
from numpy.typing import NDArray

from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.safetensors_file import SafetensorsError, map_tensor, read_header

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""In order of preference; sharded, each has an index beside it: its name with `.index.json`."""

_TORCH_DTYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor on disk, its type as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    """Maps the tensor's file; memory holds what was touched until the array is dropped."""


@dataclass(frozen=True, slots=True)
class HuggingFaceWeights:
    """Every tensor of a checkpoint by name, and the files that hold them."""

    files: list[Path]
    tensors: dict[str, StoredTensor]


def open_weights(checkpoint: Path, allow_pickle: bool = False) -> HuggingFaceWeights:
    """List the tensors of a checkpoint directory; no weights are read.

    Args:
        checkpoint: the directory.
        allow_pickle: open PyTorch's .bin files, too. They are pickles: PyTorch unpickles them
            without running code of theirs, but they are read by code that had holes.

    Raises:
        CheckpointError: there are none, or a file is missing, damaged or without a tensor that the
            index places in it; or they are pickles, and those are not allowed.
    """
    for name in WEIGHT_FILES:
        is_pickle = name.endswith(".bin")
        list_file = _list_pickle if is_pickle else _list_safetensors
        index = checkpoint / f"{name}.index.json"
        if is_pickle and not allow_pickle and (index.is_file() or (checkpoint / name).is_file()):
            raise CheckpointError(
                f"{checkpoint}: its weights are pickles (.bin), which are opened only with "
                "--allow-pickle; better take a revision with safetensors"
            )
        if index.is_file():
            return _open_sharded(index, list_file)
        if (checkpoint / name).is_file():
            return HuggingFaceWeights([checkpoint / name], list_file(checkpoint / name))
    raise CheckpointError(
        f"{checkpoint}: holds no weights ({' or '.join(WEIGHT_FILES)}, or the index of a sharded "
        "one); fetch the checkpoint, or give the directory that holds it"
    )


def _open_sharded(
    index: Path, list_file: Callable[[Path], dict[str, StoredTensor]]
) -> HuggingFaceWeights:
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = [index.parent / name for name in sorted(set(weight_map.values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: no index of a sharded checkpoint: {error!r}") from error
    _require(index, "names files that are not there", (f.name for f in files if not f.is_file()))
    shards = {file.name: list_file(file) for file in files}
    _require(
        index,
        "places tensors in files that do not hold them",
        (name for name, file in weight_map.items() if name not in shards[file]),
    )
    return HuggingFaceWeights(files, {name: shards[f][name] for name, f in weight_map.items()})


def _require(index: Path, problem: str, names: Iterable[str]) -> None:
    if listed := list(names):
        raise CheckpointError(f"{index}: {problem}: {few(listed)}; copy the checkpoint again")


def few(names: list[str], most: int = 5) -> str:
    """Join the first names; say how many are left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _list_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        header = read_header(path)
    except SafetensorsError as error:
        raise CheckpointError(str(error)) from error
    return {
        name: StoredTensor(info.dtype, info.shape, partial(map_tensor, path, info))
        for name, info in header.items()
    }


def _load_pickle(path: Path) -> dict[str, Any]:
    import torch  # Needed only by this format.

    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return {name: tensor for name, tensor in content.items() if torch.is_tensor(tensor)}
    except Exception as error:  # RuntimeError, UnpicklingError, EOFError: as the damage has it
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path}: damaged, or older than the zip format of PyTorch 1.6 ({reason}); "
            "copy it again, or save the checkpoint as safetensors"
        ) from error


def _list_pickle(path: Path) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(
            _TORCH_DTYPES.get(str(tensor.dtype), str(tensor.dtype)),
            tuple(tensor.shape),
            partial(_read_pickled, path, name),
        )
        for name, tensor in _load_pickle(path).items()
    }


def _read_pickled(path: Path, name: str) -> NDArray[Any]:
    """Load the file's index once more, so that no other tensor's pages stay mapped."""
    import torch

    tensor = _load_pickle(path)[name]
    if tensor.dtype is torch.bfloat16:
        bits: NDArray[Any] = tensor.view(torch.uint16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    array: NDArray[Any] = tensor.numpy()
    return array
