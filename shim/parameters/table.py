"""The tables of parameters, generate.toml, openai.toml, responses.toml: vocabulary and reading.

Categories: a `native` parameter is a field of the engine's request, `becomes`; a `derived` one is
worked out in translation.py; an `accepted` one cannot change the result; a `refused` one is only
taken where its value is `neutral`, that is, means the same as leaving it out.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aeolus_contract.parameters import SamplingParameter, sampling_parameters
from shim.parameters.guides import GuidedDecoding, ResponseFormat
from shim.parameters.token_types import (
    LogitBias,
    MaskRow,
    SequenceBias,
    Strings,
    TokenIds,
    TokenLists,
    TokenRow,
)

FOLDER = Path(__file__).parent

Group = Literal["GenerationConfig", "generate", "extension", "openai", "responses"]
Category = Literal["native", "derived", "accepted", "refused"]
TypeName = Literal[
    "any",
    "boolean",
    "early_stopping",
    "guided_decoding",
    "integer",
    "logit_bias",
    "mask",
    "number",
    "object",
    "response_format",
    "sequence_bias",
    "string",
    "strings",
    "token_ids",
    "token_lists",
    "tokens",
]


def _check_early_stopping(value: object) -> object:
    if isinstance(value, bool) or value == "never":
        return value
    raise PydanticCustomError("early_stopping", "Input should be true, false or 'never'")


TYPES: Mapping[TypeName, Any] = MappingProxyType(
    {
        "any": Any,
        "boolean": bool,
        "early_stopping": Annotated[
            bool | Literal["never"], BeforeValidator(_check_early_stopping)
        ],
        "guided_decoding": GuidedDecoding,
        "integer": int,
        "logit_bias": LogitBias,
        "mask": MaskRow,
        "number": float,
        "object": dict[str, Any],
        "response_format": ResponseFormat,
        "sequence_bias": SequenceBias,
        "string": str,
        "strings": Strings,
        "token_ids": TokenIds,
        "token_lists": TokenLists,
        "tokens": TokenRow,
    }
)


class OnlyValue(BaseModel):
    """The one value by which an engine acts whatever it is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    value: int | float
    reason: str


class Row(BaseModel):
    """What becomes of one parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    group: Group
    category: Category
    type: TypeName
    at_least: float | int | None = None
    more_than: float | int | None = None
    at_most: float | int | None = None
    choices: list[str] = []
    neutral: list[Any] = []
    """Values that mean the same as leaving the parameter out; null always does."""
    when: Literal["always", "sampling", "beams"] = "always"
    """How the next token must be chosen for a native parameter to be sent."""
    becomes: str | None = None
    """Field of `GenerationRequest`; of a derived parameter, the chief one."""
    encoding: dict[str, int] = {}
    """The engine's number for each value, by its JSON text, where it is not the value itself."""
    only: dict[str, OnlyValue] = {}
    """By engine, as preprocessing's configuration names it."""
    how: str
    """For the documentation; of a refused parameter, the reason."""

    @model_validator(mode="after")
    def _goes_with_the_category(self) -> Self:
        if (self.category in ("native", "derived")) != (self.becomes is not None):
            raise ValueError(f"{self.name}: native and derived parameters become something")
        return self

    @property
    def annotation(self) -> Any:
        """The type with its range, for a pydantic model."""
        if self.choices:
            return Annotated[
                str,
                AfterValidator(self._one_of_the_choices),
                Field(json_schema_extra={"enum": [*self.choices]}),
            ]
        return Annotated[TYPES[self.type], self.bounds]

    @property
    def bounds(self) -> Any:
        """The range of a number, as metadata of a pydantic field."""
        return Field(ge=self.at_least, gt=self.more_than, le=self.at_most)

    def is_neutral(self, value: Any) -> bool:
        """Whether a value means the same as leaving the parameter out."""
        return value is None or any(
            value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
            for neutral in self.neutral
        )

    def encode(self, value: Any) -> Any:
        """Return the engine's form of a value."""
        return self.encoding[str(value).lower()] if self.encoding else value

    def decode(self, number: float) -> str:
        """Return the JSON text of the value that the engine's number stands for."""
        names = {encoded: name for name, encoded in self.encoding.items()}
        return names.get(int(number), f"{number:g}")

    def _one_of_the_choices(self, value: str) -> str:
        if value not in self.choices:
            raise PydanticCustomError(
                "choices", "Input should be one of {choices}", {"choices": ", ".join(self.choices)}
            )
        return value


@cache
def generate_map() -> Mapping[str, Row]:
    """Return the rows of generate() parameters by name: the table's, then the contract's."""
    sampling = {
        row.name: row for each in sampling_parameters().values() for row in _sampling_rows(each)
    }
    return MappingProxyType({**_read(FOLDER / "generate.toml"), **sampling})


@cache
def openai_map() -> Mapping[str, Row]:
    """Return the rows of OpenAI's further parameters by name, in the order of their table."""
    return _read(FOLDER / "openai.toml")


def _sampling_rows(parameter: SamplingParameter) -> Iterator[Row]:
    """Return the row of a sampling value that generate() has, too."""
    if parameter.generate is None:
        return
    is_number = parameter.generate.type in ("integer", "number")
    yield Row.model_validate(
        {
            **asdict(parameter.generate),
            "category": "native",
            "at_least": parameter.smallest if is_number else None,
            "more_than": parameter.more_than,
            "at_most": parameter.largest if is_number else None,
            "becomes": parameter.name,
            "only": {engine: asdict(each) for engine, each in parameter.fixed.items()},
        }
    )


@cache
def responses_map() -> Mapping[str, Row]:
    """Return what OpenAI's responses have beside generate() parameters, by name."""
    shared = {name: row for name, row in openai_map().items() if name not in CHATS_ONLY}
    return MappingProxyType({**shared, **_read(FOLDER / "responses.toml")})


CHATS_ONLY = (
    "functions",
    "function_call",
    "modalities",
    "audio",
    "reasoning_effort",
    "verbosity",
    "prediction",
    "suffix",
    "web_search_options",
)
"""What OpenAI's responses have no more."""


def _read(path: Path) -> Mapping[str, Row]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            name: Row.model_validate({"name": name, "group": group, **row})
            for group, rows in content.items()
            for name, row in rows.items()
        }
    )
