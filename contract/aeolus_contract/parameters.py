"""The table of sampling parameters: each a tensor of the ensemble with its type and range.

A row says where its value goes: to a tensor of the engine step and a field of its SamplingConfig,
and from which parameter of Hugging Face's generate() it comes.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

Number = int | float
EngineName = Literal["reference", "executor-1.2.1", "tensorrtllm-1.2.1"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
"""What may run behind the engine step, as preprocessing's parameter `engine` names it."""

Dtype = Literal["BOOL", "BYTES", "FP32", "INT32", "INT64", "UINT64"]
NUMPY_TYPES: Mapping[Dtype, type[np.generic]] = MappingProxyType(
    {
        "BOOL": np.bool_,
        "BYTES": np.object_,
        "FP32": np.float32,
        "INT32": np.int32,
        "INT64": np.int64,
        "UINT64": np.uint64,
    }
)
LARGEST: Mapping[str, int] = MappingProxyType({"INT32": 2**31 - 1, "UINT64": 2**64 - 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineField:
    """Where a value goes in the engine step."""

    tensor: str
    field: str
    """Of `engine_step.sampling_config.SamplingConfig`."""
    default: Number | None = None
    """What TensorRT-LLM's backend acts by where the tensor is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateField:
    """The parameter of Hugging Face's generate() that the value comes from."""

    name: str
    type: str
    """One of `shim.parameters.table.TYPES`."""
    how: str
    """For the documentation: what differs from Hugging Face."""
    group: str = "GenerationConfig"
    neutral: list[Any] = field(default_factory=list)
    """Values that mean the same as leaving it out."""
    when: str = "always"
    """How the next token must be chosen for it to be sent: always, sampling or beams."""
    encoding: dict[str, int] = field(default_factory=dict)
    """The engine's number for each value, by its JSON text, where it is not the value itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedValue:
    """The one value by which an engine acts whatever it is sent."""

    value: Number
    reason: str

    def refusal(self, name: str, value: Number) -> str:
        """Return why another value of a parameter is refused."""
        return (
            f"{name} is {value:g}, but {self.reason}; the engine of this model always acts by "
            f"{self.value:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameter:
    """One row; a range without an upper bound ends where the type does."""

    name: str
    """Of the ensemble's input tensor, shape [1, 1]."""
    dtype: Dtype
    at_least: Number | None = None
    more_than: Number | None = None
    at_most: Number | None = None
    choices: tuple[int, ...] = ()
    or_zero: str | None = None
    """0 is allowed besides the range; says what it means."""
    note: str | None = None
    from_other_clients: bool = False
    """Only clients written for NVIDIA's repository send it; ours says the same otherwise."""
    beams_only: bool = False
    """Without effect where there is one beam."""
    beam_default: Number | None = None
    """What a beam search acts by where the request does not say, unless the engine cannot."""
    engine: EngineField | None = None
    """`None`: preprocessing resolves it."""
    fixed: Mapping[str, FixedValue] = field(default_factory=dict)
    """By engine, what that engine cannot be asked for."""
    generate: GenerateField | None = None

    @property
    def numpy_type(self) -> type[np.generic]:
        """The NumPy scalar type of the tensor."""
        return NUMPY_TYPES[self.dtype]

    @property
    def largest(self) -> Number | None:
        """The upper bound, inclusive; of an integer at most its type's."""
        return LARGEST.get(self.dtype) if self.at_most is None else self.at_most

    @property
    def smallest(self) -> Number | None:
        """The lower bound, inclusive."""
        return 0 if self.or_zero else self.at_least

    def allows(self, value: Number) -> bool:
        """Whether a tensor's value is in the range."""
        if not math.isfinite(value):
            return False
        if value == 0 and self.or_zero:
            return True
        if self.choices:
            return value in self.choices
        return (
            (self.at_least is None or value >= self._rounded(self.at_least))
            and (self.more_than is None or value > self.more_than)
            and (self.at_most is None or value <= self._rounded(self.at_most))
        )

    @property
    def range_text(self) -> str:
        """What a value may be, as an error says it."""
        text = f"0, {self.or_zero}, or {self._bounds_text()}" if self.or_zero else ""
        text = text or self._bounds_text()
        return f"{text}; {self.note}" if self.note else text

    def _bounds_text(self) -> str:
        if self.choices:
            *others, last = map(str, self.choices)
            return f"{', '.join(others)} or {last}" if others else last
        if self.at_most is None:
            return f"{self.at_least} or more"
        opening, low = ("[", self.at_least) if self.more_than is None else ("(", self.more_than)
        return f"in {opening}{_text(low)}, {_text(self.at_most)}]"

    def _rounded(self, bound: Number) -> Number:
        """Return a bound as a tensor can hold it: 1e-6 in float32 is a little less."""
        return float(np.float32(bound)) if self.dtype == "FP32" else bound


@cache
def sampling_parameters() -> Mapping[str, SamplingParameter]:
    """Return the rows by name, in the order of the table."""
    text = resources.files(__package__).joinpath("parameters.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _row(name, row) for name, row in tomllib.loads(text).items()})


@cache
def engine_parameters() -> tuple[tuple[SamplingParameter, EngineField], ...]:
    """Return the rows whose value goes to the engine step, with where it goes."""
    return tuple((row, row.engine) for row in sampling_parameters().values() if row.engine)


def fixed_values(engine: str) -> dict[str, FixedValue]:
    """Return what an engine cannot be asked for, by parameter."""
    return {
        name: row.fixed[engine]
        for name, row in sampling_parameters().items()
        if engine in row.fixed
    }


def _row(name: str, row: dict[str, Any]) -> SamplingParameter:
    if unknown := {*row.get("fixed", {})} - {*ENGINES}:
        raise ValueError(f"parameters.toml: {name}: no such engine: {', '.join(sorted(unknown))}")
    parts = {
        "choices": tuple(row.get("choices", ())),
        "engine": EngineField(**row["engine"]) if "engine" in row else None,
        "generate": GenerateField(**row["generate"]) if "generate" in row else None,
        "fixed": {engine: FixedValue(**value) for engine, value in row.get("fixed", {}).items()},
    }
    return SamplingParameter(name=name, **{**row, **parts})


def _text(bound: Number | None) -> str:
    """Write a bound without the zeros of an exponent: 1e-6, not 1e-06."""
    return f"{bound:g}".replace("e-0", "e-").replace("e+0", "e")
