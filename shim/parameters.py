"""The parameters of a predict request: Hugging Face's names, ranges and conflicts."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain, islice
from typing import Annotated, Any, Literal

from fastapi import HTTPException
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from catalog import ModelEntry, PredictApi

MAX_REPORTED_PROBLEMS = 10
MAX_QUOTED_NAME = 40
INPUTS = ("prompt", "messages", "user_message", "system_message")

# The widths of the ensemble's tensors.
INT32_MAX = 2**31 - 1
UINT64_MAX = 2**64 - 1
FLOAT32_MAX = 3e38

Text = Annotated[str, Field(min_length=1)]
TokenLimit = Annotated[int, Field(ge=1, le=INT32_MAX)]
Count = Annotated[int, Field(ge=0, le=INT32_MAX)]
Temperature = Annotated[float, Field(ge=0, le=FLOAT32_MAX)]
TopP = Annotated[float, Field(ge=0, le=1)]


def _check_early_stopping(value: object) -> object:
    if value is None or isinstance(value, bool) or value == "never":
        return value
    raise PydanticCustomError("early_stopping", "Input should be true, false or 'never'")


# Spelled out, because OpenAPI has no place for the definitions that a schema refers to.
MESSAGES_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
        "required": ["role", "content"],
    },
}


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Text
    content: str


class Parameters(BaseModel):
    """Everything that a predict request may say; `None` means not given."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: Text | None = None
    messages: Annotated[
        list[ChatMessage] | None, Field(min_length=1), WithJsonSchema(MESSAGES_SCHEMA)
    ] = None
    user_message: Text | None = None
    system_message: str | None = None
    stream: bool | None = None
    max_new_tokens: TokenLimit | None = None
    max_tokens: TokenLimit | None = None
    max_length: TokenLimit | None = None
    min_new_tokens: Count | None = None
    do_sample: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: Count | None = None
    seed: Annotated[int, Field(ge=0, le=UINT64_MAX)] | None = None
    num_beams: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    length_penalty: Annotated[float, Field(ge=0, le=FLOAT32_MAX)] | None = None
    early_stopping: Annotated[
        bool | Literal["never"] | None, BeforeValidator(_check_early_stopping)
    ] = None
    repetition_penalty: Annotated[float, Field(gt=0, le=FLOAT32_MAX)] | None = None
    no_repeat_ngram_size: Count | None = None
    return_full_text: bool | None = None
    skip_special_tokens: bool | None = None

    def is_streamed(self, api: PredictApi) -> bool:
        """Whether the reply is streamed."""
        return api.stream if self.stream is None else self.stream

    def token_limit(self, api: PredictApi) -> int:
        """Most new tokens; of `max_length`, which counts the prompt, an upper bound of them."""
        return (
            self.max_new_tokens or self.max_tokens or self.max_length or api.defaults.max_new_tokens
        )


def read_parameters(body: dict[str, Any], model: ModelEntry) -> Parameters:
    """Check a request to a model.

    Raises:
        HTTPException: 422 with every problem of the request.
    """
    errors: list[ErrorDetails] = []
    try:
        parameters = Parameters.model_validate(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        wrong = {each["loc"][0] for each in errors}
        parameters = Parameters.model_validate(
            {name: value for name, value in body.items() if name not in wrong}
        )
    given = [name for name in INPUTS if body.get(name) is not None]
    problems = chain(
        (_describe(each, model) for each in errors),
        _input_problems(given, model),
        _conflicts(parameters, model.predict),
    )
    reported = list(islice(problems, MAX_REPORTED_PROBLEMS))
    if reported:
        raise HTTPException(422, "; ".join(reported))
    return parameters


def input_fields(model: ModelEntry) -> tuple[str, ...]:
    """Return the names under which a model takes its prompt or conversation."""
    if model.zephyr is not None:
        return (model.predict.input, "user_message", "system_message")
    return (model.predict.input,)


def _describe(error: ErrorDetails, model: ModelEntry) -> str:
    first, *rest = error["loc"]
    place = str(first)[:MAX_QUOTED_NAME] + "".join(
        f"[{each}]" if isinstance(each, int) else f".{each[:MAX_QUOTED_NAME]}" for each in rest
    )
    if rest and error["type"] in ("extra_forbidden", "model_type"):
        return f"{place}: a message is an object of role and content, nothing else"
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']}"
    known = {*Parameters.model_fields} - {*INPUTS} | {*input_fields(model)}
    nearest = get_close_matches(place, known, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown parameter '{place}'{hint}"


def _input_problems(given: list[str], model: ModelEntry) -> Iterator[str]:
    taken = input_fields(model)
    foreign = [name for name in given if name not in taken]
    for name in foreign:
        yield f"{name}: {model.name} takes '{model.predict.input}', not '{name}'"
    if "user_message" in given and model.predict.input in given:
        yield f"user_message: give it or '{model.predict.input}', not both"
    elif "system_message" in given and "user_message" not in given and not foreign:
        yield "system_message: goes with 'user_message'; in 'messages' it is a turn of role system"
    elif not given:
        yield f"{model.predict.input}: required by {model.name}"


def _conflicts(parameters: Parameters, api: PredictApi) -> Iterator[str]:
    has_beams = (parameters.num_beams or 1) > 1
    by_default = "" if parameters.stream else '; this model streams unless "stream" is false'
    if len({parameters.max_new_tokens, parameters.max_tokens} - {None}) > 1:
        yield "max_tokens: means the same as max_new_tokens, but the two differ"
    if (parameters.min_new_tokens or 0) > parameters.token_limit(api):
        yield f"min_new_tokens: more than the limit of {parameters.token_limit(api)} new tokens"
    if has_beams and parameters.is_streamed(api):
        yield (
            "num_beams: beam search chooses its text at the end, so it can not be streamed"
            f"{by_default}"
        )
    if has_beams and parameters.do_sample:
        yield "do_sample: beam search does not sample; leave out do_sample or num_beams"
    if parameters.return_full_text and parameters.is_streamed(api):
        yield f"return_full_text: a stream holds the generated text alone{by_default}"
