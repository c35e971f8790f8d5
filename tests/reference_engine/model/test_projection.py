"""Packed projections against torch's own."""

import pytest
import torch
from torch import nn

from reference_engine.model.projection import padded_length, projection

pytestmark = pytest.mark.filterwarnings("error")


def linear(inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs, bias=bias, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (8, 24), (33, 7), (1024, 2816), (1, 1)])
def test_a_projection_equals_torchs_linear(
    dtype: torch.dtype, bias: bool, inputs: int, outputs: int
) -> None:
    modules = [linear(inputs, outputs + more, bias, dtype) for more in (0, 3)]
    with torch.inference_mode():
        project = projection(*modules)
        for tokens in (1, 2, 9, 16, 17, 100):
            hidden = torch.randn(tokens, inputs).to(dtype)
            expected = torch.cat([module(hidden) for module in modules], dim=-1)
            tolerance = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(project(hidden), expected, rtol=tolerance, atol=tolerance)


def test_any_number_of_tokens_is_computed_in_few_sizes() -> None:
    sizes = {tokens: padded_length(tokens) for tokens in range(1, 1025)}
    assert all(tokens <= size <= 1.25 * tokens for tokens, size in sizes.items())
    assert len(set(sizes.values())) == 36
    assert {tokens for tokens, size in sizes.items() if tokens == size} >= {*range(1, 9), 16, 1024}
