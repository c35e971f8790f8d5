import math

import numpy as np
import pytest

from aeolus_contract.parameters import SamplingParameter, sampling_parameters

ROWS = sampling_parameters()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "0, which is greedy, or in [1e-6, 1e6]"),
        ("top_k", "0 or more; 0 is no limit"),
        ("top_p", "in [0, 1]"),
        ("top_p_decay", "in (0, 1]"),
        ("presence_penalty", "in [-1e6, 1e6]"),
        ("early_stopping", "0, 1 or 2; 2 is never"),
        ("num_return_sequences", "1; send as many requests, each with a seed of its own"),
    ],
)
def test_a_range_is_said_as_an_error_needs_it(name: str, text: str) -> None:
    assert ROWS[name].range_text == text


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_the_bounds_of_a_range_are_in_it_as_a_tensor_holds_them(row: SamplingParameter) -> None:
    for bound in (row.at_least, row.at_most):
        if bound is not None:
            assert row.allows(np.array(bound, row.numpy_type).item())
    if row.more_than is not None:
        assert not row.allows(row.more_than)
    assert not row.allows(math.nan)
    assert not row.allows(math.inf)


@pytest.mark.parametrize(("value", "allowed"), [(0, True), (-1e-9, False), (1e-9, False)])
def test_zero_may_stand_beside_a_range(value: float, allowed: bool) -> None:
    assert ROWS["temperature"].allows(value) is allowed


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_what_an_engine_acts_by_in_any_case_is_in_the_range(row: SamplingParameter) -> None:
    for fixed in row.fixed.values():
        assert row.allows(float(np.float32(fixed.value)))
