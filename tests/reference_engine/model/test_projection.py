"""Packed projections against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reference_engine.model.projection import (
    Linear,
    int8_projection,
    packed_projection,
    padded_length,
    quantize,
)
from support.int8_weights import rounded

pytestmark = pytest.mark.filterwarnings("error")


def linear(inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> Linear:
    torch.manual_seed(inputs + outputs)
    module = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    return Linear(module.weight, module.bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (8, 24), (33, 7), (1024, 2816), (1, 1)])
def test_a_projection_equals_torchs_linear(
    dtype: torch.dtype, bias: bool, inputs: int, outputs: int
) -> None:
    layers = [linear(inputs, outputs + more, bias, dtype) for more in (0, 3)]
    with torch.inference_mode():
        project = packed_projection(*layers)
        for tokens in (1, 2, 9, 16, 17, 100):
            hidden = torch.randn(tokens, inputs).to(dtype)
            expected = torch.cat([functional.linear(hidden, *each) for each in layers], dim=-1)
            tolerance = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(project(hidden), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(64, 64), (32, 96), (33, 7), (64, 5), (1024, 2816)]
)
def test_an_int8_projection_is_that_of_the_rounded_weights(
    bias: bool, inputs: int, outputs: int
) -> None:
    layers = [linear(inputs, outputs + more, bias, torch.bfloat16) for more in (0, 32)]
    with torch.inference_mode():
        project = int8_projection(*layers)
        weight = torch.cat([rounded(each.weight) for each in layers])
        for tokens in (1, 2, 64, 65):
            hidden = torch.randn(tokens, inputs).bfloat16()
            expected = hidden.double() @ weight.T
            if bias:
                expected += torch.cat([each.bias for each in layers if each.bias is not None])
            torch.testing.assert_close(project(hidden).double(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("spread", [1e-30, 0.02, 1e30])
def test_a_rounded_weight_is_within_half_a_step(spread: float) -> None:
    torch.manual_seed(0)
    weight = (torch.randn(50, 70) * spread).bfloat16()
    weight[7] = 0
    weight[8, 3] = 100 * spread
    _, scales = quantize(weight)
    errors = (rounded(weight) - weight.double()).abs()
    # A scale is a bfloat16: where it was rounded down, the largest weight is cut by that much.
    assert (errors <= scales.double()[:, None] * (0.5 + 127 / 256)).all()
    assert (errors[7] == 0).all()
    assert errors.median() <= scales.double().median() / 2


def test_any_number_of_tokens_is_computed_in_few_sizes() -> None:
    sizes = {tokens: padded_length(tokens) for tokens in range(1, 1025)}
    assert all(tokens <= size <= 1.25 * tokens for tokens, size in sizes.items())
    assert len(set(sizes.values())) == 36
    assert {tokens for tokens, size in sizes.items() if tokens == size} >= {*range(1, 9), 16, 1024}
