"""Keys and values of all sequences, in blocks, and attention over them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from reference_engine.checkpoint import ModelShape


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens to be computed next of one sequence (of one beam).

    `tokens` stand at `start` and after; `blocks` hold all positions before and theirs.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]

    @property
    def end(self) -> int:
        """The position after the last of `tokens`."""
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one shape, side by side in the flat list of tokens: one attention call.

    `blocks` int64 [rows * blocks a row]; `mask` float [rows, 1, group * tokens, length], where
    group is the number of query heads that share a key head.
    """

    begin: int
    rows: int
    tokens: int
    blocks: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """How the tokens of one forward pass attend; the same in every layer.

    All of int64: `token_ids` and `positions` [tokens]; `slots` [tokens], where in the cache each
    goes; `last` [rows], which token is the last of each row, in the order the rows were given.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    last: torch.Tensor
    groups: list[_Group]


class KVCache:
    """For every layer a tensor [num_blocks, block_size, 2, kv_heads, head_dim]."""

    def __init__(
        self,
        shape: ModelShape,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._shape = shape
        self._block_size = block_size
        self._dtype = dtype
        self._device = device
        self._width = 2 * shape.num_kv_heads * shape.head_dim
        # Zeros, not empty: attention multiplies masked positions by 0, and 0 * NaN is NaN.
        size = num_blocks * block_size * self._width * dtype.itemsize
        self._layers = [
            _zeros(size, device).view(dtype).view(num_blocks, -1) for _ in range(shape.num_layers)
        ]

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy each block of `sources` to the one of `targets` beside it."""
        for layer in self._layers:
            layer[list(targets)] = layer[list(sources)]

    def plan(self, rows: Sequence[Row]) -> AttentionPlan:
        """Lay out `rows` for `attend`.

        Rows with as many tokens and similar lengths are computed together: lengths are padded to
        the longest of a group, so the groups double in length.
        """
        size = self._block_size
        shapes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            shapes[len(row.tokens), (-(-row.end // size) - 1).bit_length()].append(index)
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        last = [0] * len(rows)
        groups = []
        for indices in shapes.values():
            groups.append(self._group(len(token_ids), [rows[index] for index in indices]))
            for index in indices:
                row = rows[index]
                token_ids += row.tokens
                where = range(row.start, row.end)
                positions += where
                slots += [row.blocks[p // size] * size + p % size for p in where]
                last[index] = len(token_ids) - 1
        return AttentionPlan(
            token_ids=self._tensor(token_ids),
            positions=self._tensor(positions),
            slots=self._tensor(slots),
            last=self._tensor(last),
            groups=groups,
        )

    def attend(
        self, layer: int, queries: torch.Tensor, keys_values: torch.Tensor, plan: AttentionPlan
    ) -> torch.Tensor:
        """Store the keys and values of the planned tokens and attend to all of their rows.

        Args:
            layer: its number.
            queries: [tokens, heads * head_dim], rotated.
            keys_values: [tokens, 2 * kv_heads * head_dim], keys rotated.
            plan: of these tokens.

        Returns:
            [tokens, heads * head_dim].
        """
        cache = self._layers[layer]
        cache.view(-1, self._width).index_copy_(0, plan.slots, keys_values)
        kv_heads, head_dim = self._shape.num_kv_heads, self._shape.head_dim
        outputs = []
        for group in plan.groups:
            rows, tokens = group.rows, group.tokens
            kept = cache.index_select(0, group.blocks).view(rows, -1, 2, kv_heads, head_dim)
            keys, values = kept.permute(2, 0, 3, 1, 4)
            # Query heads that share a key head stand side by side, as if they were tokens.
            asked = queries[group.begin : group.begin + rows * tokens]
            asked = asked.reshape(rows, tokens, kv_heads, -1, head_dim).transpose(1, 2)
            output = scaled_dot_product_attention(
                asked.reshape(rows, kv_heads, -1, head_dim), keys, values, attn_mask=group.mask
            )
            output = output.view(rows, kv_heads, tokens, -1, head_dim).transpose(1, 2)
            outputs.append(output.reshape(rows * tokens, -1))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _group(self, begin: int, rows: Sequence[Row]) -> _Group:
        num_blocks = -(-max(row.end for row in rows) // self._block_size)
        tokens = len(rows[0].tokens)
        blocks = self._tensor(
            [[*row.blocks[:num_blocks], *[0] * (num_blocks - len(row.blocks))] for row in rows]
        )
        starts = self._tensor([row.start for row in rows])
        positions = (starts[:, None] + torch.arange(tokens, device=self._device))[:, :, None]
        places = torch.arange(num_blocks * self._block_size, device=self._device)
        hidden = places > positions
        if self._shape.sliding_window is not None:
            hidden |= places <= positions - self._shape.sliding_window
        mask = torch.zeros_like(hidden, dtype=self._dtype).masked_fill_(hidden, -torch.inf)
        shared_by = self._shape.num_heads // self._shape.num_kv_heads
        mask = mask.repeat_interleave(shared_by, dim=1)[:, None]
        return _Group(begin, len(rows), tokens, blocks.flatten(), mask)

    def _tensor(self, numbers: Sequence[object]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._device)


def _zeros(size: int, device: torch.device) -> torch.Tensor:
    """Return uint8 [size]; on a CPU those of numpy, which take no memory before they are used."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(size, np.uint8))
    return torch.zeros(size, dtype=torch.uint8, device=device)
