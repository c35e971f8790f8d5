"""Keys and values of all sequences, in blocks, and attention over them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention

from reference_engine.model.model_config import ModelConfig


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens to be computed next of one sequence (of one beam).

    `tokens` stand at `start` and after; `blocks` hold all positions before and theirs.
    `wants_all_logits` asks for the logits after each token, not the last one's only.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    wants_all_logits: bool = False

    @property
    def num_logits(self) -> int:
        """How many rows of logits it gets."""
        return len(self.tokens) if self.wants_all_logits else 1

    @property
    def end(self) -> int:
        """The position after the last of `tokens`."""
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one shape, side by side in the flat list of tokens: one attention call.

    `pieces` int64 [2 * rows * kv_heads * blocks a row], what to gather of the cache; `mask` float,
    for rows of one token [rows * kv_heads, 1, length], for others
    [rows, 1, group * tokens, length], where group is the number of query heads a key head has.
    """

    begin: int
    rows: int
    tokens: int
    pieces: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """How the tokens of one forward pass attend; the same in every layer.

    All of int64: `token_ids` and `positions` [tokens]; `slots` [tokens * 2 * kv_heads], where in
    the cache the heads of each go; `wanted` [logits], after which tokens logits are wanted, in the
    order the rows were given.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    wanted: torch.Tensor
    groups: list[_Group]


class KVCache:
    """For every layer a tensor [num_blocks, 2, kv_heads, block_size, head_dim].

    The heads stand before the positions, so that what is gathered of a head is one matrix.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._config = config
        self._block_size = block_size
        self._dtype = dtype
        self._device = device
        self._pieces = 2 * config.num_kv_heads
        # Zeros, not empty: attention multiplies masked positions by 0, and 0 * NaN is NaN.
        block_bytes = self._pieces * block_size * config.head_dim * dtype.itemsize
        self._layers = [
            _zeros(num_blocks * block_bytes, device).view(dtype).view(num_blocks, -1)
            for _ in range(config.num_layers)
        ]
        # By position and by piece, both views of the layers.
        self._slots = [layer.view(-1, config.head_dim) for layer in self._layers]
        self._matrices = [layer.view(-1, block_size * config.head_dim) for layer in self._layers]

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
        blocks: list[int] = []
        wanted: list[range] = [range(0)] * len(rows)
        groups = []
        for indices in shapes.values():
            groups.append(self._group(len(token_ids), [rows[index] for index in indices]))
            for index in indices:
                row = rows[index]
                token_ids += row.tokens
                where = range(row.start, row.end)
                positions += where
                blocks += [row.blocks[position // size] for position in where]
                wanted[index] = range(len(token_ids) - row.num_logits, len(token_ids))
        places = np.array(positions)
        slots = self._pieces_of(np.array(blocks)) * size + (places % size)[:, None]
        return AttentionPlan(
            token_ids=self._tensor(np.array(token_ids)),
            positions=self._tensor(places),
            slots=self._tensor(slots.ravel()),
            wanted=self._tensor(np.array([token for row in wanted for token in row])),
            groups=groups,
        )

    def attend(
        self, layer: int, queries: torch.Tensor, keys_values: torch.Tensor, plan: AttentionPlan
    ) -> torch.Tensor:
        """Store the keys and values of the planned tokens and attend to all of their rows.

        Args:
            layer: its number.
            queries: [tokens, heads, head_dim], rotated.
            keys_values: [tokens, 2 * kv_heads, head_dim], keys rotated.
            plan: of these tokens.

        Returns:
            [tokens, heads * head_dim].
        """
        head_dim, kv_heads = self._config.head_dim, self._config.num_kv_heads
        self._slots[layer].index_copy_(0, plan.slots, keys_values.reshape(-1, head_dim))
        matrices = self._matrices[layer]
        outputs = []
        for group in plan.groups:
            keys, values = matrices.index_select(0, group.pieces).view(
                2, group.rows * kv_heads, -1, head_dim
            )
            asked = queries[group.begin : group.begin + group.rows * group.tokens]
            attention = _attend_with_one if group.tokens == 1 else _attend_with_many
            outputs.append(attention(asked, keys, values, group))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _group(self, begin: int, rows: Sequence[Row]) -> _Group:
        num_blocks = -(-max(row.end for row in rows) // self._block_size)
        tokens = len(rows[0].tokens)
        blocks = np.zeros((len(rows), num_blocks), np.int64)
        for index, row in enumerate(rows):
            known = row.blocks[:num_blocks]
            blocks[index, : len(known)] = known
        pieces = self._pieces_of(blocks).reshape(len(rows), num_blocks, 2, -1)
        starts = np.array([row.start for row in rows])
        positions = starts[:, None, None] + np.arange(tokens)[:, None]
        places = np.arange(num_blocks * self._block_size)
        hidden = places > positions
        if self._config.sliding_window is not None:
            hidden |= places <= positions - self._config.sliding_window
        if tokens == 1:
            hidden = hidden.repeat(self._config.num_kv_heads, axis=0)
        else:
            shared_by = self._config.num_heads // self._config.num_kv_heads
            hidden = hidden.repeat(shared_by, axis=1)[:, None]
        is_hidden = self._tensor(hidden)
        mask = torch.zeros_like(is_hidden, dtype=self._dtype).masked_fill_(is_hidden, -torch.inf)
        gathered = self._tensor(pieces.transpose(2, 0, 3, 1).ravel())
        return _Group(begin, len(rows), tokens, gathered, mask)

    def _pieces_of(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of each block's pieces, one a key or value head, in a new last dim."""
        return blocks[..., None] * self._pieces + np.arange(self._pieces)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _zeros(size: int, device: torch.device) -> torch.Tensor:
    """Return uint8 [size]; on a CPU those of numpy, which take no memory before they are used."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(size, np.uint8))
    return torch.zeros(size, dtype=torch.uint8, device=device)


def _attend_with_one(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, group: _Group
) -> torch.Tensor:
    """Attend with one token a row: all query heads of a key head may see the same.

    In bfloat16 torch's own attention takes twice as long for so few, and fifteen times where every
    query head has a key head (docs/performance.md).

    Args:
        queries: [rows, heads, head_dim]; heads that share a key head stand side by side.
        keys: [rows * kv_heads, length, head_dim].
        values: as `keys`.
        group: of the rows.

    Returns:
        [rows, heads * head_dim].
    """
    asked = queries.reshape(len(keys), -1, queries.shape[-1])
    scores = torch.baddbmm(group.mask, asked, keys.transpose(1, 2), alpha=queries.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), values).view(group.rows, -1)


def _attend_with_many(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, group: _Group
) -> torch.Tensor:
    """Attend with several tokens a row, each with a mask of its own; see `_attend_with_one`.

    Args:
        queries: [rows * tokens, heads, head_dim].
        keys: [rows * kv_heads, length, head_dim].
        values: as `keys`.
        group: of the rows.

    Returns:
        [rows * tokens, heads * head_dim].
    """
    rows, tokens, head_dim = group.rows, group.tokens, queries.shape[-1]
    keys, values = (each.view(rows, -1, *each.shape[1:]) for each in (keys, values))
    # Query heads that share a key head stand side by side, as if they were tokens.
    asked = queries.reshape(rows, tokens, keys.shape[1], -1, head_dim).transpose(1, 2)
    output = scaled_dot_product_attention(asked.flatten(2, 3), keys, values, attn_mask=group.mask)
    output = output.view(rows, -1, tokens, asked.shape[3], head_dim).transpose(1, 2)
    return output.reshape(rows * tokens, -1)
