"""Keys and values of all running sequences, one fixed row each.

The views below are what a transformers model gets as `past_key_values`. Their one method is all
that a forward pass calls when it is given a 4-D attention mask and position ids
(huggingface/transformers 5.23, src/transformers/masking_utils.py returns such a mask as it is).
"""

from collections.abc import Sequence

import torch

from reference_engine.checkpoint import ModelShape


class KVCache:
    """Key and value tensors [rows + 1, kv_heads, max_seq_len, head_dim] for every layer.

    The extra row (`staging_row`) takes a prompt while it is prefilled in chunks, so that the rows
    of running sequences stay a compact block that one attention call reads without a gather.
    """

    def __init__(self, shape: ModelShape, rows: int, max_seq_len: int, dtype: torch.dtype) -> None:
        size = (rows + 1, shape.num_kv_heads, max_seq_len, shape.head_dim)
        # Zeros, not empty: attention multiplies masked positions by 0, and 0 * NaN is NaN.
        self.keys = [torch.zeros(size, dtype=dtype) for _ in range(shape.num_layers)]
        self.values = [torch.zeros(size, dtype=dtype) for _ in range(shape.num_layers)]
        self.staging_row = rows

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of row `source` to row `target`."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def gather_rows(self, targets: Sequence[int], sources: Sequence[int], length: int) -> None:
        """Set every row of `targets` to what the row of `sources` beside it held before."""
        for tensor in (*self.keys, *self.values):
            # Indexing with a list copies, so overlapping sources and targets are safe.
            tensor[list(targets), :, :length] = tensor[list(sources), :, :length]


class PrefillView:
    """One row of the cache while positions start .. start + q - 1 of a prompt are computed."""

    def __init__(self, cache: KVCache, row: int, start: int) -> None:
        self._cache, self._row, self._start = cache, row, start

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store [1, kv_heads, q, head_dim]; return the row up to its new end."""
        row, end = self._row, self._start + keys.shape[2]
        all_keys, all_values = self._cache.keys[layer], self._cache.values[layer]
        all_keys[row, :, self._start : end] = keys[0]
        all_values[row, :, self._start : end] = values[0]
        return all_keys[row : row + 1, :, :end], all_values[row : row + 1, :, :end]


class DecodeView:
    """The first n rows of the cache while one token of each is computed.

    Args:
        cache: the cache.
        positions: int64 [n], where each row's new token stands.
        length: the largest of the positions plus one.
    """

    def __init__(self, cache: KVCache, positions: torch.Tensor, length: int) -> None:
        self._cache, self._positions, self._length = cache, positions, length
        self._rows = torch.arange(len(positions))

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store [n, kv_heads, 1, head_dim]; return [n, kv_heads, length, head_dim]."""
        rows = len(self._positions)
        all_keys, all_values = self._cache.keys[layer], self._cache.values[layer]
        all_keys[self._rows, :, self._positions] = keys[:, :, 0]
        all_values[self._rows, :, self._positions] = values[:, :, 0]
        return all_keys[:rows, :, : self._length], all_values[:rows, :, : self._length]
