"""Draws of many rows at once: how often each token comes, and what a row owes to its neighbours."""

from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reference_engine.model.hardware import CPU
from reference_engine.sampling.sampler import Sampler, advance
from support.engine_harness import request

VOCAB = 12
DRAWS = 10_000
# The chi-square statistic is below it in 999,999 of a million runs (11 degrees of freedom).
HIGHEST = {11: 51.0, 7: 42.7, 3: 32.0}
LOGITS = torch.linspace(-2, 2, VOCAB)[torch.randperm(VOCAB, generator=torch.manual_seed(0))]


def sampler(seed: int | None = None, **fields: Any) -> Sampler:
    return Sampler(request([1], 4, seed=seed, **fields), 4, CPU)


def expected_probabilities(fields: dict[str, Any]) -> torch.Tensor:
    warpers = LogitsProcessorList([TemperatureLogitsWarper(fields.get("temperature", 1.0))])
    if "top_k" in fields:
        warpers.append(TopKLogitsWarper(fields["top_k"]))
    if "top_p" in fields:
        warpers.append(TopPLogitsWarper(fields["top_p"]))
    return torch.softmax(warpers(torch.zeros(1, 1), LOGITS[None].clone()), dim=-1)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"top_p": 1.0},
        {"top_p": 1.0, "temperature": 0.6},
        {"top_k": 8},
        {"top_k": 8, "temperature": 1.7},
        {"top_p": 0.8},
        {"top_k": 4, "top_p": 0.999},
    ],
    ids=str,
)
@pytest.mark.parametrize("seeded", [True, False])
def test_tokens_come_as_often_as_their_probability_says(
    fields: dict[str, Any], seeded: bool
) -> None:
    samplers = [sampler(seed if seeded else None, **fields) for seed in range(DRAWS)]
    advance(samplers, LOGITS.repeat(DRAWS, 1))
    drawn = torch.tensor([each.outputs[0][0] for each in samplers])
    counts = torch.bincount(drawn, minlength=VOCAB).double()
    expected = expected_probabilities(fields).double() * DRAWS
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    freedom = int(possible.sum()) - 1
    assert statistic < min(limit for least, limit in HIGHEST.items() if least >= freedom)


MIXED: list[dict[str, Any]] = [
    {},
    {"top_k": 3},
    {"top_k": 3, "temperature": 2.0},
    {"top_p": 0.7},
    {"top_p": 0.4, "temperature": 0.5},
    {"top_k": 5, "top_p": 0.9, "repetition_penalty": 1.5},
    {"top_p": 1.0, "bad_words": [[0], [1, 2]]},
    {"presence_penalty": 1.0},
]


def test_a_row_is_the_same_alone_and_among_others() -> None:
    generator = torch.Generator().manual_seed(3)
    together = [sampler(seed, **fields) for seed, fields in enumerate(MIXED)]
    alone = [sampler(seed, **fields) for seed, fields in enumerate(MIXED)]
    for _ in range(4):
        logits = torch.randn(len(MIXED), VOCAB, generator=generator)
        for one, row in zip(alone, logits, strict=True):
            assert advance([one], row[None].clone()) == [None]
        assert advance(together, logits) == [None] * len(MIXED)
    assert [each.outputs for each in together] == [each.outputs for each in alone]


@pytest.mark.parametrize("fields", [{}, {"top_k": 3}, {"top_p": 0.9}], ids=str)
@pytest.mark.parametrize("seed", [0, None])
def test_a_row_without_a_possible_token_fails_alone(
    fields: dict[str, Any], seed: int | None
) -> None:
    samplers = [sampler(seed, **fields) for _ in range(3)]
    logits = LOGITS.repeat(3, 1)
    logits[1] = float("nan")
    first, second, third = advance(samplers, logits)
    assert first is third is None
    assert isinstance(second, RuntimeError)
    assert "no token can be chosen" in str(second)
    assert [len(each.outputs[0]) for each in samplers] == [1, 0, 1]


def test_a_processor_that_raises_fails_its_row_alone() -> None:
    broken, sound = sampler(bad_words=[[VOCAB + 1]]), sampler()
    failure, success = advance([broken, sound], LOGITS.repeat(2, 1))
    assert isinstance(failure, IndexError)
    assert success is None
    assert sound.outputs == [[int(LOGITS.argmax())]]


def test_top_p_decays_to_its_minimum_and_returns_at_the_reset_token() -> None:
    one = sampler(0, top_p=0.8, top_p_decay=0.5, top_p_min=0.3, top_p_reset_id=7)
    masses = []
    for token in (1, 2, 7, 3):
        one.accept(token, 0.0)
        masses.append(one.top_p)
    assert masses == [0.4, 0.3, 0.8, 0.4]


def test_a_decayed_top_p_leaves_fewer_tokens() -> None:
    samplers = [sampler(seed, top_p=0.999, top_p_decay=0.01) for seed in range(200)]
    advance(samplers, torch.zeros(200, VOCAB))
    advance(samplers, LOGITS.repeat(200, 1))
    assert len({each.outputs[0][0] for each in samplers}) > 6
    assert {each.outputs[0][1] for each in samplers} == {int(LOGITS.argmax())}
