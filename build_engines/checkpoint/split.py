"""Tensor parallelism: which rows and columns of the source tensors are a rank's share.

A rank's tensor is a list of regions of source tensors, one under another. The rules are those of
NVIDIA/TensorRT-LLM, tensorrt_llm/layers/attention.py, linear.py and embedding.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Consecutive rows of a source tensor, and of each row these columns."""

    source: str
    rows: slice
    columns: slice | None = None
    """None: all; a vector has none."""


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's tensor: its regions from the top, then zeros to its full shape."""

    shape: Shape
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Rank:
    """A rank of a tensor-parallel group, and what a split depends on besides shapes."""

    rank: int
    tp_size: int
    head_size: int
    use_parallel_embedding: bool
    rotary_lanes: tuple[range, ...]
    """The order in which the lanes of a query or key head are stored."""

    def part(self, size: int) -> slice:
        """Its share of a dimension that is a multiple of `tp_size`."""
        each = size // self.tp_size
        return slice(self.rank * each, (self.rank + 1) * each)

    def heads(self, count: int) -> range:
        """Its share of heads; with fewer heads than ranks, neighbouring ranks share one."""
        first = self.rank * count // self.tp_size
        return range(first, first + max(1, count // self.tp_size))


Split = Callable[[Mapping[str, Shape], Rank], Share]
"""From the source tensors' names and shapes to one rank's share."""


def replicated(sources: Mapping[str, Shape], _: Rank) -> Share:
    """The whole tensor on every rank."""
    ((source, shape),) = sources.items()
    return Share(shape, (Region(source, slice(0, shape[0])),))


def column_parallel(sources: Mapping[str, Shape], rank: Rank) -> Share:
    """A block of the output features: rows, for weights are stored [out, in]."""
    ((source, (_, features)),) = sources.items()
    rows = rank.part(sources[source][0])
    return Share((rows.stop - rows.start, features), (Region(source, rows),))


def row_parallel(sources: Mapping[str, Shape], rank: Rank) -> Share:
    """A block of the input features: columns; the ranks' outputs are summed."""
    ((source, (outputs, features)),) = sources.items()
    columns = rank.part(features)
    shape = (outputs, columns.stop - columns.start)
    return Share(shape, (Region(source, slice(0, outputs), columns),))


def vocabulary_parallel(sources: Mapping[str, Shape], rank: Rank) -> Share:
    """A block of the vocabulary, padded with zeros to a multiple of the ranks."""
    ((source, (vocabulary, features)),) = sources.items()
    each = -(-vocabulary // rank.tp_size)
    first = min(rank.rank * each, vocabulary)
    rows = slice(first, min(first + each, vocabulary))
    return Share((each, features), (Region(source, rows),))


def embedding(sources: Mapping[str, Shape], rank: Rank) -> Share:
    """The whole table, or a block of the vocabulary with `use_parallel_embedding`."""
    return (vocabulary_parallel if rank.use_parallel_embedding else replicated)(sources, rank)


def fused_qkv(sources: Mapping[str, Shape], rank: Rank) -> Share:
    """Whole heads: the rank's queries, then its keys, then its values."""
    (query, (query_rows, features)), (key, (key_rows, _)), (value, _) = sources.items()
    query_heads = rank.heads(query_rows // rank.head_size)
    key_heads = rank.heads(key_rows // rank.head_size)
    regions = (
        *_heads(query, query_heads, rank.head_size, rank.rotary_lanes),
        *_heads(key, key_heads, rank.head_size, rank.rotary_lanes),
        *_heads(value, key_heads, rank.head_size, (range(rank.head_size),)),
    )
    rows = (len(query_heads) + 2 * len(key_heads)) * rank.head_size
    return Share((rows, features), regions)


def _heads(source: str, heads: range, head_size: int, lanes: tuple[range, ...]) -> Iterator[Region]:
    for head in heads:
        for run in lanes:
            first = head * head_size
            yield Region(source, slice(first + run.start, first + run.stop))
