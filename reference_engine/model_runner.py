"""Forward passes over the cache: a chunk of one prompt, or one token of every running row."""

from collections.abc import Sequence
from typing import Any

import torch

from reference_engine.kv_cache import DecodeView, KVCache, PrefillView


class ModelRunner:
    """Runs a transformers model on a `KVCache` and returns float32 logits."""

    def __init__(self, model: Any, cache: KVCache, sliding_window: int | None) -> None:
        self._model = model
        self._cache = cache
        self._sliding_window = sliding_window

    def prefill(self, token_ids: Sequence[int], start: int) -> torch.Tensor:
        """Compute prompt tokens that stand at `start` and after, in the cache's staging row.

        Returns:
            Logits [1, vocab] after the last of them.
        """
        positions = torch.arange(start, start + len(token_ids))
        view = PrefillView(self._cache, self._cache.staging_row, start)
        mask = self._mask(positions, start + len(token_ids))[None, None]
        return self._forward(torch.tensor([token_ids]), positions[None], mask, view)

    def decode(self, token_ids: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """Compute one token of each of the first rows; token i stands at position i of row i.

        Returns:
            Logits [rows, vocab].
        """
        where = torch.tensor(positions)
        length = max(positions) + 1
        view = DecodeView(self._cache, where, length)
        mask = self._mask(where, length)[:, None, None]
        return self._forward(torch.tensor(token_ids)[:, None], where[:, None], mask, view)

    def _mask(self, positions: torch.Tensor, length: int) -> torch.Tensor:
        """Return bool [positions, length], true where a query at a position sees a key."""
        keys = torch.arange(length)
        mask = keys <= positions[:, None]
        if self._sliding_window is not None:
            mask &= keys > positions[:, None] - self._sliding_window
        return mask

    def _forward(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        view: PrefillView | DecodeView,
    ) -> torch.Tensor:
        output = self._model(
            input_ids=token_ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=view,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits
