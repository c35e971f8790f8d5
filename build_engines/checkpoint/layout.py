"""Every tensor of a TensorRT-LLM checkpoint and what it is made of: a function of its config."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from build_engines.checkpoint.safetensors_file import DTYPES
from build_engines.checkpoint.split import Rank, Shape, Share
from build_engines.checkpoint.trtllm_config import TrtllmConfig
from build_engines.checkpoint.weights import (
    LAYER_PREFIX,
    SOURCE_LAYER_PREFIX,
    TABLES,
    Dimension,
    Weight,
)


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the checkpoint, on every rank."""

    name: str
    sources: dict[str, Shape]
    shares: tuple[Share, ...]
    """By rank; all have one shape."""

    @property
    def shape(self) -> Shape:
        """The shape of one rank's tensor."""
        return self.shares[0].shape


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors in the order in which they are written."""

    tensors: tuple[PlannedTensor, ...]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Names and shapes of one rank's file; those of the other ranks are the same."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    @property
    def elements_per_rank(self) -> int:
        """Numbers in one rank's file."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def num_ranks(self) -> int:
        """How many rank files there are."""
        return len(self.tensors[0].shares)

    def nbytes(self, dtype: str) -> int:
        """Bytes of all ranks' tensors in a type as safetensors names it."""
        return self.num_ranks * self.elements_per_rank * DTYPES[dtype].itemsize

    @property
    def sources(self) -> dict[str, Shape]:
        """Names and shapes of every source tensor."""
        return {name: shape for tensor in self.tensors for name, shape in tensor.sources.items()}


def plan_layout(
    config: TrtllmConfig,
    rotary_lanes: tuple[range, ...] | None = None,
    tie_word_embeddings: bool = False,
) -> Layout:
    """Plan the checkpoint that `config` describes.

    Args:
        config: the checkpoint's config.json.
        rotary_lanes: the order of the lanes of a query or key head; None keeps it.
        tie_word_embeddings: whether the source has no output matrix but its embedding table.
    """
    ranks = tuple(
        Rank(
            rank=rank,
            tp_size=config.mapping.tp_size,
            head_size=config.head_size,
            use_parallel_embedding=config.use_parallel_embedding,
            rotary_lanes=rotary_lanes or (range(config.head_size),),
        )
        for rank in range(config.mapping.tp_size)
    )
    sizes: dict[Dimension, int] = {
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "query": config.num_attention_heads * config.head_size,
        "key_value": config.num_key_value_heads * config.head_size,
        "vocabulary": config.vocab_size,
    }
    renamed = {"lm_head.weight": "model.embed_tokens.weight"} if tie_word_embeddings else {}

    def planned(weight: Weight, prefix: str, source_prefix: str) -> PlannedTensor:
        sources = {
            source_prefix + renamed.get(name, name): tuple(sizes[each] for each in dimensions)
            for name, dimensions in weight.sources.items()
        }
        shares = tuple(weight.split(sources, rank) for rank in ranks)
        return PlannedTensor(prefix + weight.name, sources, shares)

    def tensors() -> Iterator[PlannedTensor]:
        table = TABLES[config.architecture]
        for weight in table.top:
            yield planned(weight, "", "")
        for layer in range(config.num_hidden_layers):
            for weight in table.layer:
                yield planned(
                    weight,
                    LAYER_PREFIX.format(layer=layer),
                    SOURCE_LAYER_PREFIX.format(layer=layer),
                )

    return Layout(tuple(tensors()))
