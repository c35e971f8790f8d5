"""Reading a rank's share of the weights from a Hugging Face or a converted checkpoint."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open

from reference_engine.model.checkpoint import CheckpointError
from reference_engine.ranks.share import Rank, Region

TRTLLM_NAMES = {
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "post_layernorm",
    "q_proj": "attention.qkv",
    "k_proj": "attention.qkv",
    "v_proj": "attention.qkv",
    "o_proj": "attention.dense",
    "gate_proj": "mlp.fc",
    "up_proj": "mlp.gate",
    "down_proj": "mlp.proj",
    "embed_tokens": "transformer.vocab_embedding",
    "norm": "transformer.ln_f",
    "lm_head": "lm_head",
}
"""TensorRT-LLM's names of transformers' modules; those of a layer come after its number."""


class Weights(Protocol):
    """Where a rank's parameters come from."""

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        """Return `region` of the parameter that transformers calls `name` and is of `shape`.

        Raises:
            CheckpointError: it is missing or of another shape.
        """
        ...


class HuggingFaceWeights:
    """The *.safetensors files of a Hugging Face checkpoint; only what is asked for is read."""

    def __init__(self, directory: Path, files: ExitStack) -> None:
        self._directory = directory
        index = directory / "model.safetensors.index.json"
        names = ["model.safetensors"]
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        self._files: dict[str, Any] = {}
        for name in names:
            file = _open(directory / name, files)
            self._files |= dict.fromkeys(file.keys(), file)

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        """Return a region of a parameter; see `Weights.read`."""
        if name == "lm_head.weight" and name not in self._files:
            name = "model.embed_tokens.weight"  # the output matrix of tied embeddings
        if name not in self._files:
            raise CheckpointError(f"{self._directory}: {name} is missing; copy the files again")
        tensor = self._files[name].get_slice(name)
        _check_shape(self._directory, name, tuple(tensor.get_shape()), shape)
        share: torch.Tensor = tensor[region]
        return share


class ConvertedWeights:
    """rank<r>.safetensors of a TensorRT-LLM checkpoint: everything is cut to shares already."""

    def __init__(self, directory: Path, files: ExitStack, rank: Rank) -> None:
        self._directory = directory
        self._ranks = [
            _open(directory / f"rank{index}.safetensors", files) for index in range(rank.size)
        ]
        self._own = self._ranks[rank.index]

    def read(self, name: str, shape: tuple[int, ...], region: Region) -> torch.Tensor:
        """Return a region of a parameter; see `Weights.read`."""
        *place, module, kind = name.split(".")
        own_name = f"{TRTLLM_NAMES[module]}.{kind}"
        if "layers" in place:
            own_name = f"transformer.layers.{place[place.index('layers') + 1]}.{own_name}"
        if module == "embed_tokens":
            return self._embedding(own_name, shape)
        tensor = self._tensor(self._own, own_name)
        rows = region[0].stop - region[0].start
        match module:
            case "q_proj" | "lm_head":  # the first of queries, keys, values; the rest is padding
                tensor = tensor[:rows]
            case "k_proj":
                tensor = tensor[-2 * rows : -rows]
            case "v_proj":
                tensor = tensor[-rows:]
        expected = [part.stop - part.start for part in region]
        _check_shape(self._directory, own_name, tensor.shape, (*expected, *shape[len(expected) :]))
        return tensor

    def _embedding(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the whole table, which may be spread over the ranks by vocabulary."""
        table = self._tensor(self._own, name)
        if len(table) < shape[0]:
            table = torch.cat([self._tensor(rank, name) for rank in self._ranks])[: shape[0]]
        _check_shape(self._directory, name, table.shape, shape)
        return table

    def _tensor(self, file: Any, name: str) -> torch.Tensor:
        if name not in file.keys():  # noqa: SIM118 - a safetensors file is not a container
            raise CheckpointError(f"{self._directory}: {name} is missing; convert again")
        tensor: torch.Tensor = file.get_tensor(name)
        return tensor


def _open(path: Path, files: ExitStack) -> Any:
    try:
        return files.enter_context(safe_open(path, framework="pt"))
    except Exception as error:  # whatever safetensors raises on an absent or a broken file
        raise CheckpointError(f"{path}: the weights cannot be read: {error}") from error


def _check_shape(
    directory: Path, name: str, found: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    if tuple(found) != tuple(expected):
        raise CheckpointError(
            f"{directory}: {name} has shape {list(found)}, but config.json makes it"
            f" {list(expected)}; config.json and weights are not of one checkpoint"
        )
