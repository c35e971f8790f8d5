"""The sequences of a decode step and the cache rows they stand in."""

from collections.abc import Sequence as Items

import torch

from reference_engine.kv_cache import KVCache
from reference_engine.sequence import Sequence


class Batch:
    """Running sequences in the first rows of the cache, without gaps.

    When a sequence leaves, the last rows move into its place. A moved row keeps its rank among
    the rows of its sequence, since row j of a beam search belongs to beam j.
    """

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._owners: list[Sequence] = []  # of each row

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def sequences(self) -> list[Sequence]:
        """Every running sequence once, in the order of their first rows."""
        return list(dict.fromkeys(self._owners))

    def add(self, sequence: Sequence) -> None:
        """Give `sequence` rows that hold what is in the staging row."""
        for _ in range(sequence.num_rows):
            row = len(self._owners)
            self._cache.copy_row(self._cache.staging_row, row, sequence.num_cached)
            self._owners.append(sequence)
            sequence.rows.append(row)

    def remove(self, sequence: Sequence) -> None:
        """Free the rows of `sequence`, if it has any."""
        for row in sorted(sequence.rows, reverse=True):
            last = len(self._owners) - 1
            owner = self._owners.pop()
            if row != last:
                self._cache.copy_row(last, row, owner.num_cached)
                self._owners[row] = owner
                owner.rows[owner.rows.index(last)] = row
        sequence.rows.clear()

    def reorder(self, sequence: Sequence, parents: Items[int]) -> None:
        """Let each row of `sequence` hold what the row of its parent beam holds now."""
        if list(parents) != list(range(sequence.num_rows)):
            sources = [sequence.rows[parent] for parent in parents]
            self._cache.gather_rows(sequence.rows, sources, sequence.num_cached)

    def inputs(self) -> tuple[list[int], list[int]]:
        """Return the newest token of every row and the position it stands at."""
        tokens, positions = [0] * len(self), [0] * len(self)
        for sequence in self.sequences:
            for row, token in zip(sequence.rows, sequence.decoding.next_tokens, strict=True):
                tokens[row], positions[row] = token, sequence.num_cached
        return tokens, positions

    def split(self, logits: torch.Tensor) -> list[tuple[Sequence, torch.Tensor]]:
        """Return every sequence with its part [beams, vocab], in beam order, of [rows, vocab]."""
        return [(sequence, logits[sequence.rows]) for sequence in self.sequences]
