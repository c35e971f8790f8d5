import pytest

from engine_step.call import priority_of
from engine_step.interface import RequestRefusedError


@pytest.mark.parametrize(
    ("parameters", "priority"),
    [
        ("", 0.5),
        ("{}", 0.5),
        ('{"stop": "[]"}', 0.5),
        ('{"request_priority": 0.9}', 0.9),
        ('{"request_priority": 1}', 1.0),
        ('{"request_priority": 0}', 0.0),
    ],
)
def test_the_priority_of_a_request_is_half_unless_it_says(parameters: str, priority: float) -> None:
    assert priority_of(parameters) == priority


@pytest.mark.parametrize("value", ["-1", "1.5", '"high"', "true", "NaN"])
def test_anything_but_a_number_from_0_to_1_is_refused(value: str) -> None:
    with pytest.raises(RequestRefusedError, match=r"request_priority is .* from 0 to 1"):
        priority_of(f'{{"request_priority": {value}}}')
