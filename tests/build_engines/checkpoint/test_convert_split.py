"""The ranks' shares, against the rule said with whole tensors."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from build_engines.checkpoint.split import (
    Rank,
    Shape,
    Share,
    Split,
    column_parallel,
    fused_qkv,
    row_parallel,
    vocabulary_parallel,
)

Matrix = NDArray[np.int64]
HEAD_SIZE = 4


def shares(split: Split, sources: Mapping[str, Matrix], tp_size: int) -> list[Matrix]:
    shapes: dict[str, Shape] = {name: source.shape for name, source in sources.items()}
    ranks = [Rank(rank, tp_size, HEAD_SIZE, False, (range(HEAD_SIZE),)) for rank in range(tp_size)]
    return [assemble(split(shapes, rank), sources) for rank in ranks]


def assemble(share: Share, sources: Mapping[str, Matrix]) -> Matrix:
    parts = [sources[each.source][each.rows, each.columns or slice(None)] for each in share.regions]
    padded: Matrix = np.zeros(share.shape, np.int64)
    stacked = np.concatenate(parts)
    padded[: len(stacked)] = stacked
    return padded


def numbered(rows: int, columns: int, start: int = 1) -> Matrix:
    return np.arange(start, start + rows * columns).reshape(rows, columns)


tp_sizes = st.sampled_from([1, 2, 3, 4, 8])


@given(tp_sizes, st.integers(1, 5), st.integers(1, 5))
def test_column_parallel_shares_stacked_are_the_matrix(tp_size: int, rows: int, n: int) -> None:
    matrix = numbered(rows * tp_size, n)
    np.testing.assert_array_equal(
        np.concatenate(shares(column_parallel, {"w": matrix}, tp_size)), matrix
    )


@given(tp_sizes, st.integers(1, 5), st.integers(1, 5))
def test_row_parallel_shares_side_by_side_are_the_matrix(tp_size: int, rows: int, n: int) -> None:
    matrix = numbered(rows, n * tp_size)
    np.testing.assert_array_equal(
        np.concatenate(shares(row_parallel, {"w": matrix}, tp_size), axis=1), matrix
    )


@given(tp_sizes, st.integers(1, 40), st.integers(1, 3))
def test_vocabulary_shares_are_equal_and_padded_with_zeros(
    tp_size: int, vocabulary: int, n: int
) -> None:
    matrix = numbered(vocabulary, n)
    stacked = np.concatenate(shares(vocabulary_parallel, {"w": matrix}, tp_size))
    np.testing.assert_array_equal(stacked[:vocabulary], matrix)
    assert len(stacked) == -(-vocabulary // tp_size) * tp_size
    assert not stacked[vocabulary:].any()


@given(tp_sizes, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_fused_qkv_is_blocks_of_heads_with_scarce_ones_repeated(
    tp_size: int, kv_per_rank: int, group: int, scarce: bool
) -> None:
    # Either several key heads a rank, or one for all ranks.
    kv_heads = 1 if scarce else kv_per_rank * tp_size
    heads = max(kv_heads, tp_size) * group
    sizes = {"q": heads, "k": kv_heads, "v": kv_heads}
    sources = {
        name: numbered(count * HEAD_SIZE, 2, start)
        for start, (name, count) in zip((1, 10**6, 10**7), sizes.items(), strict=True)
    }

    def blocks(name: str) -> list[Matrix]:
        by_head = sources[name].reshape(sizes[name], HEAD_SIZE, 2)
        repeated = np.repeat(by_head, max(1, tp_size // sizes[name]), axis=0)
        return [block.reshape(-1, 2) for block in np.split(repeated, tp_size)]

    expected = [np.concatenate(each) for each in zip(*map(blocks, sources), strict=True)]
    for share, block in zip(shares(fused_qkv, sources, tp_size), expected, strict=True):
        np.testing.assert_array_equal(share, block)
