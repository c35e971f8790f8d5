"""Batches of training examples of about equal length."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch

from demo.examples import Example

IGNORED = -100
"""The label that `torch.nn.functional.cross_entropy` leaves out by default."""
_POOL_BATCHES = 32


class Batch(NamedTuple):
    """Sequences padded at their end, which causal attention needs no mask for."""

    input_ids: torch.Tensor
    """int64 [batch, length]."""
    labels: torch.Tensor
    """int64 [batch, length]: the next token of each position, or `IGNORED`."""


def make_batches(examples: Iterator[Example], size: int, pad: int, seed: int) -> Iterator[Batch]:
    """Batch `examples`, sorted by length within a pool so that little is padding.

    Args:
        examples: An endless supply.
        size: Sequences a batch.
        pad: The padding token.
        seed: Decides the order of the batches.
    """
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    while True:
        pool = sorted(islice(examples, size * _POOL_BATCHES), key=lambda e: len(e.tokens))
        starts = list(range(0, len(pool), size))
        rng.shuffle(starts)
        for start in starts:
            yield _pad(pool[start : start + size], pad)


def _pad(examples: list[Example], pad: int) -> Batch:
    length = max(len(example.tokens) for example in examples)
    input_ids = torch.full((len(examples), length), pad)
    labels = torch.full((len(examples), length), IGNORED)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.tokens)
        learned = torch.tensor(example.learned)
        input_ids[row, : len(tokens)] = tokens
        labels[row, : len(tokens)] = tokens.masked_fill(~learned, IGNORED)
    return Batch(input_ids[:, :-1], labels[:, 1:])
