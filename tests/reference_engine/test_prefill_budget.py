"""A pass with prompts lasts about three steps without, on any machine."""

import pytest

from reference_engine.prefill_budget import (
    DECODE_STEPS_A_PASS,
    FIRST_TOKENS_BESIDE_STREAMS,
    MAX_TOKENS,
    PrefillBudget,
)


class Machine:
    """One that takes `step` seconds for the streams' tokens and `token` for each of a prompt."""

    def __init__(self, step: float, token: float) -> None:
        self.step, self.token = step, token

    def run(self, budget: PrefillBudget, passes: int, with_prompts: bool) -> float:
        """Return the seconds of the last pass."""
        seconds = 0.0
        for _ in range(passes):
            tokens = budget.tokens(1) if with_prompts else 0
            seconds = self.step + tokens * self.token
            budget.note(tokens, seconds)
        return seconds


@pytest.mark.parametrize(
    ("step", "token"), [(0.030, 0.0008), (0.060, 0.002), (0.010, 0.00005), (0.001, 0.0005)]
)
def test_a_pass_lasts_as_many_decode_steps_as_asked(step: float, token: float) -> None:
    budget, machine = PrefillBudget(), Machine(step, token)
    machine.run(budget, 20, with_prompts=False)
    seconds = machine.run(budget, 6, with_prompts=True)
    assert seconds <= DECODE_STEPS_A_PASS * step * 1.001
    assert seconds > DECODE_STEPS_A_PASS * step - token - 1e-9


def test_nothing_is_learned_before_there_was_something_to_learn_from() -> None:
    budget = PrefillBudget()
    assert budget.tokens(0) == MAX_TOKENS
    assert budget.tokens(1) == FIRST_TOKENS_BESIDE_STREAMS
    budget.note(32, 0.1)  # no step without prompts to compare with
    budget.note(0, 0.02)
    assert budget.tokens(1) == FIRST_TOKENS_BESIDE_STREAMS


def test_it_stays_in_its_limits() -> None:
    fast, slow = PrefillBudget(), PrefillBudget()
    Machine(1.0, 1e-9).run(fast, 3, with_prompts=False)
    Machine(1.0, 1e-9).run(fast, 3, with_prompts=True)
    Machine(0.001, 1.0).run(slow, 3, with_prompts=False)
    Machine(0.001, 1.0).run(slow, 3, with_prompts=True)
    assert fast.tokens(1) <= MAX_TOKENS
    assert slow.tokens(1) == 2


def test_one_pass_that_the_machine_interrupts_changes_nothing() -> None:
    budget, machine = PrefillBudget(), Machine(0.030, 0.0008)
    machine.run(budget, 20, with_prompts=False)
    machine.run(budget, 6, with_prompts=True)
    before = budget.tokens(1)
    budget.note(0, 3.0)
    budget.note(before, 3.0)
    assert budget.tokens(1) == before


def test_what_a_token_costs_may_grow_with_what_is_before_it() -> None:
    budget, machine = PrefillBudget(), Machine(0.030, 0.0008)
    machine.run(budget, 20, with_prompts=False)
    machine.run(budget, 6, with_prompts=True)
    seconds = Machine(0.030, 0.0016).run(budget, 6, with_prompts=True)
    assert seconds <= DECODE_STEPS_A_PASS * 0.030 * 1.001


def test_prompts_that_never_cease_are_read_although_nothing_can_be_learned_any_more() -> None:
    budget = PrefillBudget()
    budget.note(0, 0.003)  # one stream; later there are hundreds, and always prompts beside them
    for _ in range(10):
        budget.note(budget.tokens(400), 0.3)
    assert budget.tokens(400) == 800
    assert budget.tokens(1000) == MAX_TOKENS
