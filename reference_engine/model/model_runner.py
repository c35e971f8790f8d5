"""The one object that touches the model and the cache."""

from collections.abc import Sequence
from typing import Protocol

import torch

from reference_engine.model.decoder import Decoder
from reference_engine.model.kv_cache import KVCache, Row


class Runner(Protocol):
    """What the step loop needs of `ModelRunner`, or of one for several ranks."""

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Compute the tokens of all rows; see `ModelRunner.forward`."""
        ...

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy cache blocks; see `ModelRunner.copy_blocks`."""
        ...


class ModelRunner:
    """Computes logits for rows of tokens; called only from the engine's thread."""

    def __init__(self, decoder: Decoder, cache: KVCache) -> None:
        self._decoder = decoder
        self._cache = cache

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Compute the tokens of all rows: chunks of prompts and single tokens alike.

        Returns:
            Float32 logits [tokens, vocab]: after the last token of each row, or after all of it.
        """
        plan = self._cache.plan(rows)
        hidden = self._decoder.hidden_states(plan, self._cache)
        return self._decoder.logits(hidden[plan.wanted])

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy cache blocks, each of `sources` to the one of `targets` beside it."""
        if sources:
            self._cache.copy_blocks(sources, targets)
