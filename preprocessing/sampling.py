"""The values that choose the next token: ranges, and what the engine reads differently."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from preprocessing.engines import BEAM_DEFAULTS, FIXED_VALUES, EngineName
from preprocessing.errors import InvalidRequestError

Number = int | float
Values = dict[str, Number]


@dataclass(frozen=True, slots=True)
class Range:
    """What a value may be."""

    allows: Callable[[Number], bool]
    text: str


# Far beyond them scores leave the range of float32, and no token can be chosen any more.
SMALLEST, LARGEST = float(np.float32(1e-6)), 1e6
LARGEST_LENGTH_PENALTY = 10  # so that 4096 to its power is within float32, too


def _has_size(value: Number) -> bool:
    return SMALLEST <= value <= LARGEST


def _is_small(value: Number) -> bool:
    return -LARGEST <= value <= LARGEST


# The C++ backend answers a value out of range with a stack trace, if it answers.
RANGES: dict[str, Range] = {
    "temperature": Range(
        lambda value: value == 0 or _has_size(value), "0, which is greedy, or from 1e-6 to 1e6"
    ),
    "top_k": Range(lambda value: value >= 0, "0 or more; 0 is no limit"),
    "top_p": Range(lambda value: 0 <= value <= 1, "in [0, 1]"),
    "top_p_min": Range(lambda value: 0 < value <= 1, "in (0, 1]"),
    "top_p_decay": Range(lambda value: 0 < value <= 1, "in (0, 1]"),
    "top_p_reset_ids": Range(lambda value: value >= 0, "a token id"),
    "repetition_penalty": Range(_has_size, "from 1e-6 to 1e6"),
    "presence_penalty": Range(_is_small, "from -1e6 to 1e6"),
    "frequency_penalty": Range(_is_small, "from -1e6 to 1e6"),
    "min_tokens": Range(lambda value: value >= 0, "0 or more"),
    "min_length": Range(lambda value: value >= 0, "0 or more"),
    "min_total_length": Range(lambda value: value >= 0, "0 or more"),
    "no_repeat_ngram_size": Range(lambda value: value >= 0, "0 or more; 0 is off"),
    "length_penalty": Range(
        lambda value: 0 <= value <= LARGEST_LENGTH_PENALTY, f"from 0 to {LARGEST_LENGTH_PENALTY}"
    ),
    "beam_search_diversity_rate": Range(lambda value: 0 <= value <= LARGEST, "from 0 to 1e6"),
    "early_stopping": Range(lambda value: value in (0, 1, 2), "0, 1 or 2 (never)"),
    "num_return_sequences": Range(
        lambda value: value == 1, "1; send as many requests, each with a seed of its own"
    ),
    "seed": Range(lambda _: True, "a number"),
}

BEAM_SEARCH_VALUES = ("length_penalty", "early_stopping", "beam_search_diversity_rate")
"""Without effect where there is one beam."""


def check_sampling(values: Values, max_beam_width: int, engine: EngineName, stream: bool) -> Values:
    """Check a request's values and return those the engine must be given.

    Args:
        values: those that were sent, by the ensemble's names.
        max_beam_width: the widest beam search that the engine was started for; a wider one would
            end every running request of the C++ backend.
        engine: which engine is behind the ensemble.
        stream: whether the reply is streamed.

    Raises:
        InvalidRequestError: a value is out of range, or the engine cannot do as it says.
    """
    for name, value in values.items():
        if name in RANGES and not (math.isfinite(value) and RANGES[name].allows(value)):
            raise InvalidRequestError(f"{name} is {value:g}; it must be {RANGES[name].text}")
    beam_width = values.get("beam_width", 1)
    _check_beams(beam_width, max_beam_width, stream)
    if beam_width > 1:
        forwarded = {**BEAM_DEFAULTS[engine], **values}
    else:
        forwarded = {
            name: value for name, value in values.items() if name not in BEAM_SEARCH_VALUES
        }
    forwarded.pop("num_return_sequences", None)
    for name, fixed in FIXED_VALUES[engine].items():
        value = forwarded.pop(name, fixed.value)
        if not math.isclose(value, fixed.value, rel_tol=1e-6):
            raise InvalidRequestError(
                f"{name} is {value:g}, but {fixed.reason}; the engine of this model always acts "
                f"by {fixed.value:g}"
            )
    return _with_temperature_zero_as_greedy(forwarded)


def _check_beams(beam_width: Number, max_beam_width: int, stream: bool) -> None:
    if not 1 <= beam_width <= max_beam_width:
        raise InvalidRequestError(
            f"beam_width is {beam_width}; this model was started for widths 1 to {max_beam_width}"
        )
    if beam_width > 1 and stream:
        raise InvalidRequestError(
            f"beam_width is {beam_width} and stream is true, but a beam search may rewrite its "
            "text until its end; ask for one of the two"
        )


def _with_temperature_zero_as_greedy(values: Values) -> Values:
    """The engine would sample from the whole distribution when top_p alone comes with it."""
    if values.get("temperature") != 0:
        return values
    return {name: value for name, value in values.items() if name != "temperature"} | {"top_k": 1}
