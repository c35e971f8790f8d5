"""Reading a rank's share of the weights from a converted checkpoint."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch

from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.weights import Region, check_shape, open_weights
from reference_engine.ranks.share import Rank

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


class ConvertedWeights:
    """rank<r>.safetensors of a TensorRT-LLM checkpoint: everything is cut to shares already.

    Raises:
        CheckpointError: a file is missing or damaged.
    """

    def __init__(self, directory: Path, rank: Rank) -> None:
        self._directory = directory
        with ExitStack() as stack:
            self._ranks = [
                open_weights(directory / f"rank{index}.safetensors", stack)
                for index in range(rank.size)
            ]
            self._stack = stack.pop_all()
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
        check_shape(self._directory, own_name, tensor.shape, (*expected, *shape[len(expected) :]))
        return tensor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _embedding(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the whole table, which may be spread over the ranks by vocabulary."""
        table = self._tensor(self._own, name)
        if len(table) < shape[0]:
            table = torch.cat([self._tensor(rank, name) for rank in self._ranks])[: shape[0]]
        check_shape(self._directory, name, table.shape, shape)
        return table

    def _tensor(self, file: Any, name: str) -> torch.Tensor:
        if name not in file.keys():  # noqa: SIM118 - a safetensors file is not a container
            raise CheckpointError(f"{self._directory}: {name} is missing; convert again")
        tensor: torch.Tensor = file.get_tensor(name)
        return tensor
