"""The request bodies of OpenAI's API.

Their own parameters are here and in openai.toml; every other one is read by the table of
generate() parameters, so that a client may also send those (`extra_body` of OpenAI's own client).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)

from aeolus_contract.parameters import sampling_parameters
from shim.parameters.parameters import REFUSED, Content, Text, parameter_fields
from shim.parameters.problems import (
    MAX_REPORTED,
    InvalidParametersError,
    Problem,
    describe,
    refusals,
    unknown_parameter,
)
from shim.parameters.table import Row, generate_map, openai_map
from shim.parameters.token_types import TokenId, TokenRow
from shim.parameters.translation import SEEDS

# OpenAI's `n` and `echo` say the same, and `prompt` may be token ids.
NOT_HERE = {"num_return_sequences", "return_full_text", "input_ids", "inputs", "attention_mask"}

MAX_TOP_LOGPROBS = int(sampling_parameters()["top_logprobs"].at_most or 0)


def _as_prompts(value: object) -> object:
    is_one = isinstance(value, str) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], int)
    )
    return [value] if is_one else value


def _prompt_kind(value: object) -> str:
    return "text" if isinstance(value, str) else "tokens"


Prompts = Annotated[
    list[
        Annotated[
            Annotated[Text, Tag("text")] | Annotated[TokenRow, Tag("tokens")],
            Discriminator(_prompt_kind),
        ]
    ],
    Field(min_length=1),
    BeforeValidator(
        _as_prompts,
        json_schema_input_type=Text | list[TokenId] | list[Text | list[TokenId]],
    ),
]
"""Texts or rows of token ids; a single one may stand by itself."""


class Strict(BaseModel):
    """Every field is known and of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Table = Mapping[str, Row]


@cache
def extras(table: Callable[[], Table]) -> type[BaseModel]:
    """Return what a route takes from an OpenAI client, and without effect, as a model."""
    return create_model("OpenAIExtras", __base__=Strict, **parameter_fields(table()))


class StreamOptions(Strict):
    """What a stream tells besides its text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class OpenAIMessage(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, content: Any) -> Any:
        """A reply that a client sends back as a turn has fields for what it does not hold."""
        if not isinstance(content, dict):
            return content
        return {name: value for name, value in content.items() if value not in (None, [])}

    def as_turn(self) -> dict[str, str]:
        """Return the turn as chat templates know it."""
        content = "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class OpenAIBody(Strict):
    """What all routes act on themselves."""

    table: ClassVar[Callable[[], Table]] = openai_map
    """The route's further parameters, beside those of generate()."""

    model: Text
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class ChoicesBody(OpenAIBody, ABC):
    """What the routes act on themselves whose replies are choices."""

    n: Annotated[int, generate_map()["num_return_sequences"].bounds] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=SEEDS)] | None = None

    @property
    @abstractmethod
    def wants_logprobs(self) -> bool:
        """Whether the log probability of each token of a reply is returned."""

    @property
    @abstractmethod
    def num_top(self) -> int:
        """Of how many likely tokens it is returned in the place of each token."""


class ChatBody(ChoicesBody):
    """A conversation to continue."""

    messages: Annotated[list[OpenAIMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, generate_map()["max_new_tokens"].bounds] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @property
    def wants_logprobs(self) -> bool:
        """See `ChoicesBody`."""
        return bool(self.logprobs)

    @property
    def num_top(self) -> int:
        """See `ChoicesBody`."""
        return self.top_logprobs or 0


class CompletionBody(ChoicesBody):
    """Texts to continue as they stand."""

    prompt: Prompts
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    """Of how many likely tokens the log probabilities are returned, beside the chosen one's."""

    @property
    def wants_logprobs(self) -> bool:
        """See `ChoicesBody`."""
        return self.logprobs is not None

    @property
    def num_top(self) -> int:
        """See `ChoicesBody`."""
        return self.logprobs or 0


AnyBody = TypeVar("AnyBody", bound=OpenAIBody)
AnyModel = TypeVar("AnyModel", bound=BaseModel)


def read_body(content: dict[str, Any], form: type[AnyBody]) -> tuple[AnyBody, dict[str, Any]]:
    """Return a route's own parameters, and those that the table of generate() parameters reads.

    Raises:
        InvalidParametersError: with every problem.
    """
    table = form.table()
    content = {name: value for name, value in content.items() if value is not None}
    problems = [*refusals(content, table)]
    known = form.model_fields.keys() | _acted_on(form.table)
    unknown = (
        name for name in content if name not in known and name not in REFUSED and name not in table
    )
    problems += [unknown_parameter(name, known) for name in islice(unknown, MAX_REPORTED)]
    others = {name: value for name, value in content.items() if name not in form.model_fields}
    body = _checked(form, content, problems)
    _checked(extras(form.table), content, problems)
    if problems or body is None:
        raise InvalidParametersError(problems[:MAX_REPORTED])
    return body, {name: value for name, value in others.items() if name not in table}


def _checked(
    form: type[AnyModel], content: dict[str, Any], problems: list[Problem]
) -> AnyModel | None:
    """Return the fields of `form`; or None, with what is wrong with them among the problems."""
    own = {name: value for name, value in content.items() if name in form.model_fields}
    try:
        return form.model_validate(own)
    except ValidationError as error:
        problems += map(describe, error.errors(include_url=False, include_input=False))
        return None


@cache
def _acted_on(table: Callable[[], Table]) -> frozenset[str]:
    tables = {**generate_map(), **table()}
    return frozenset(
        name for name, row in tables.items() if row.category != "refused" and name not in NOT_HERE
    )
