"""Every processor leaves what transformers' class of the same purpose leaves, 1,000 times each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reference_engine.model.hardware import CPU
from reference_engine.sampling.processors import (
    BadWords,
    Bias,
    MinTokens,
    NoRepeatNgram,
    OccurrencePenalty,
    RepetitionPenalty,
)
from reference_engine.sampling.truncation import keep_top_k, keep_top_p

VOCAB = 700
ROWS = 100
ROUNDS = 10

Scores = torch.Tensor
InPlace = Callable[[torch.Tensor, torch.Tensor], None]

WORDS = [[3], [4], [1, 2], [2, 2, 5], [0, 1, 2]]
BIAS = np.linspace(-3, 3, VOCAB, dtype=np.float32)


def top_k(k: int) -> InPlace:
    return lambda _, scores: keep_top_k(scores, k)


def top_p(p: float) -> InPlace:
    return lambda _, scores: keep_top_p(scores, torch.full((len(scores),), p, dtype=torch.float64))


PAIRS: dict[str, tuple[InPlace, Any]] = {
    "repetition above 1": (RepetitionPenalty(1.3), RepetitionPenaltyLogitsProcessor(1.3)),
    "repetition below 1": (RepetitionPenalty(0.7), RepetitionPenaltyLogitsProcessor(0.7)),
    "1-grams": (NoRepeatNgram(1), NoRepeatNGramLogitsProcessor(1)),
    "2-grams": (NoRepeatNgram(2), NoRepeatNGramLogitsProcessor(2)),
    "3-grams": (NoRepeatNgram(3), NoRepeatNGramLogitsProcessor(3)),
    "n-grams longer than the text": (NoRepeatNgram(40), NoRepeatNGramLogitsProcessor(40)),
    "bad words": (BadWords(WORDS, CPU), NoBadWordsLogitsProcessor(WORDS)),
    "too few tokens": (MinTokens(5, 30, 7), MinNewTokensLengthLogitsProcessor(5, 30, 7)),
    "enough tokens": (MinTokens(5, 3, 7), MinNewTokensLengthLogitsProcessor(5, 3, 7)),
    "bias": (
        Bias(BIAS, CPU),
        SequenceBiasLogitsProcessor([[[i], float(b)] for i, b in enumerate(BIAS)]),
    ),
    "top-k 1": (top_k(1), TopKLogitsWarper(1)),
    "top-k 50": (top_k(50), TopKLogitsWarper(50)),
    "top-k above the vocabulary": (top_k(VOCAB + 1), TopKLogitsWarper(VOCAB + 1)),
    "top-p 0.1": (top_p(0.1), TopPLogitsWarper(0.1)),
    "top-p 0.9": (top_p(0.9), TopPLogitsWarper(0.9)),
    "top-p 0.9999": (top_p(0.9999), TopPLogitsWarper(0.9999)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_it_equals_transformers(name: str) -> None:
    ours, theirs = PAIRS[name]
    generator = torch.Generator().manual_seed(5)
    for scale in range(1, ROUNDS + 1):
        # Few different tokens, so that n-grams and bad words come up; flat and peaked scores.
        token_ids = torch.randint(0, 6, (ROWS, 30), generator=generator)
        scores = torch.randn(ROWS, VOCAB, generator=generator) * scale / 2
        expected = theirs(token_ids, scores.clone())
        ours(token_ids, scores)
        assert torch.equal(scores, expected)


def test_presence_and_frequency_penalties_count_every_token_of_the_text() -> None:
    token_ids = torch.tensor([[0, 0, 1], [2, 2, 2]])
    scores = torch.zeros(2, 4)
    OccurrencePenalty(presence=0.5, frequency=1.0)(token_ids, scores)
    assert scores.tolist() == [[-2.5, -1.5, 0, 0], [0, 0, -3.5, 0]]


def test_a_bias_may_leave_the_end_of_the_vocabulary_alone() -> None:
    scores = torch.zeros(1, 4)
    Bias(np.array([1, -np.inf], dtype=np.float32), CPU)(torch.tensor([[0]]), scores)
    assert scores.tolist() == [[1, -np.inf, 0, 0]]


def test_rows_keep_a_mass_of_their_own() -> None:
    scores = torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(1))
    masses = [0.2, 0.6, 0.95]
    expected = torch.cat(
        [
            TopPLogitsWarper(mass)(torch.zeros(1, 1), row[None])
            for mass, row in zip(masses, scores, strict=True)
        ]
    )
    keep_top_p(scores, torch.tensor(masses, dtype=torch.float64))
    assert torch.equal(scores, expected)


def test_temperature_divides_as_in_transformers() -> None:
    scores = torch.randn(1000, VOCAB, generator=torch.Generator().manual_seed(2))
    expected = TemperatureLogitsWarper(0.7)(torch.zeros(1, 1), scores)
    assert torch.equal(scores / torch.full((1000, 1), 0.7), expected)
