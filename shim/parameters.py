"""The parameters of a predict request: Hugging Face's names, ranges and conflicts."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, create_model
from pydantic_core import ErrorDetails

from catalog import ModelEntry, PredictApi
from shim.generate_map import generate_map
from shim.problems import (
    MAX_REPORTED,
    InvalidParametersError,
    Problem,
    describe,
    refusals,
    unknown_parameter,
)

Decoding = Literal["beams", "sampling", "greedy"]
Text = Annotated[str, Field(min_length=1)]

INPUTS = ("prompt", "messages", "user_message", "system_message")
LIMITS = {"max_new_tokens", "max_tokens"}
REFUSED = {name for name, row in generate_map().items() if row.category == "refused"}

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
    """What a request says that decides its result; `None` means not given.

    The ranges are in the table of generate() parameters; `read_parameters` checks them.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: Text | None = None
    messages: Annotated[
        list[ChatMessage] | None, Field(min_length=1), WithJsonSchema(MESSAGES_SCHEMA)
    ] = None
    user_message: Text | None = None
    system_message: str | None = None
    stream: bool | None = None
    max_new_tokens: int | None = None
    max_tokens: int | None = None
    max_length: int | None = None
    max_time: float | None = None
    min_new_tokens: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    num_beams: int | None = None
    num_return_sequences: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    return_full_text: bool | None = None
    skip_special_tokens: bool | None = None

    def is_streamed(self, api: PredictApi) -> bool:
        """Whether the reply is streamed."""
        return api.stream if self.stream is None else self.stream

    def is_full_text(self, api: PredictApi) -> bool:
        """Whether the reply repeats the prompt; a stream never does."""
        asked = api.return_full_text if self.return_full_text is None else self.return_full_text
        return asked and not self.is_streamed(api)

    def token_limit(self, api: PredictApi) -> int:
        """Most new tokens; of `max_length`, which counts the prompt, an upper bound of them."""
        return (
            self.max_new_tokens or self.max_tokens or self.max_length or api.defaults.max_new_tokens
        )

    def beams(self, api: PredictApi) -> int:
        """Beams asked for, or the default where nothing asked for contradicts it."""
        if self.num_beams is not None:
            return self.num_beams
        if self.do_sample or self.is_streamed(api):
            return 1
        return api.defaults.num_beams

    def decoding(self, api: PredictApi) -> Decoding:
        """How the next token is chosen."""
        if self.beams(api) > 1:
            return "beams"
        defaults = api.defaults
        do_sample = defaults.do_sample if self.do_sample is None else self.do_sample
        temperature = defaults.temperature if self.temperature is None else self.temperature
        top_p = defaults.top_p if self.top_p is None else self.top_p
        return "sampling" if do_sample and temperature and top_p else "greedy"


# A pydantic field may not begin with an underscore, a parameter may.
_ranges: Any = {
    name.lstrip("_"): (
        row.annotation | None,
        Field(None, alias=name if name.startswith("_") else None),
    )
    for name, row in generate_map().items()
    if row.category != "refused"
}
CheckedParameters: type[Parameters] = create_model("Parameters", __base__=Parameters, **_ranges)
"""Everything that a predict request may say, with the table's types and ranges."""


def read_parameters(body: dict[str, Any], model: ModelEntry) -> Parameters:
    """Check a request to a model.

    Raises:
        InvalidParametersError: 422 with every problem of the request.
    """
    body = _with_generation_config(body)
    refused = {name: value for name, value in body.items() if name in REFUSED}
    rest = {name: value for name, value in body.items() if name not in REFUSED}
    errors: list[ErrorDetails] = []
    try:
        parameters = CheckedParameters.model_validate(rest)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        wrong = {each["loc"][0] for each in errors}
        parameters = CheckedParameters.model_validate(
            {name: value for name, value in rest.items() if name not in wrong}
        )
    given = [name for name in INPUTS if body.get(name) is not None]
    problems = chain(
        (_describe(each, model) for each in errors),
        refusals(refused),
        _input_problems(given, model),
        _conflicts(parameters, model.predict, body),
    )
    reported = list(islice(problems, MAX_REPORTED))
    if reported:
        raise InvalidParametersError(reported)
    return parameters


def check_sequences(parameters: Parameters, api: PredictApi) -> None:
    """Check that a request's reply can hold the sequences it asks for, as Hugging Face does.

    Raises:
        InvalidParametersError: 422 with the reason.
    """
    if (parameters.num_return_sequences or 1) == 1:
        return
    if parameters.is_streamed(api):
        problem = "a stream holds one sequence"
    elif parameters.decoding(api) == "greedy":
        problem = "greedy choice gives the same text each time; leave it out, or sample"
    else:
        return
    raise InvalidParametersError([Problem("num_return_sequences", problem)])


def input_fields(model: ModelEntry) -> tuple[str, ...]:
    """Return the names under which a model takes its prompt or conversation."""
    if model.zephyr is not None:
        return (model.predict.input, "user_message", "system_message")
    return (model.predict.input,)


def _with_generation_config(body: dict[str, Any]) -> dict[str, Any]:
    config = body.get("generation_config")
    if not isinstance(config, dict):
        return body
    foreign = sorted(config.keys() & {*INPUTS, "generation_config"})
    if foreign:
        raise InvalidParametersError(
            [
                Problem("generation_config", f"'{name}' is none of its parameters")
                for name in foreign
            ]
        )
    given = {name: value for name, value in body.items() if value is not None}
    decided = given.keys() | (LIMITS if LIMITS & given.keys() else set())
    return {name: value for name, value in config.items() if name not in decided} | given


def _describe(error: ErrorDetails, model: ModelEntry) -> Problem:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        known = generate_map().keys() - REFUSED | {*input_fields(model)}
        return unknown_parameter(str(error["loc"][0]), known)
    return describe(error)


def _input_problems(given: list[str], model: ModelEntry) -> Iterator[Problem]:
    taken = input_fields(model)
    foreign = [name for name in given if name not in taken]
    for name in foreign:
        yield Problem(name, f"{model.name} takes '{model.predict.input}', not '{name}'")
    if "user_message" in given and model.predict.input in given:
        yield Problem("user_message", f"give it or '{model.predict.input}', not both")
    elif "system_message" in given and "user_message" not in given and not foreign:
        yield Problem(
            "system_message", "goes with 'user_message'; in 'messages' it is a turn of role system"
        )
    elif not given:
        yield Problem(model.predict.input, f"required by {model.name}")


def _conflicts(parameters: Parameters, api: PredictApi, body: dict[str, Any]) -> Iterator[Problem]:
    has_beams = (parameters.num_beams or 1) > 1
    by_default = "" if parameters.stream else '; this model streams unless "stream" is false'
    if len({parameters.max_new_tokens, parameters.max_tokens} - {None}) > 1:
        yield Problem("max_tokens", "means the same as max_new_tokens, but the two differ")
    if (parameters.min_new_tokens or 0) > parameters.token_limit(api):
        yield Problem(
            "min_new_tokens", f"more than the limit of {parameters.token_limit(api)} new tokens"
        )
    if has_beams and parameters.is_streamed(api):
        yield Problem(
            "num_beams",
            f"beam search chooses its text at the end, so it can not be streamed{by_default}",
        )
    if has_beams and parameters.do_sample:
        yield Problem("do_sample", "beam search does not sample; leave out do_sample or num_beams")
    if parameters.return_full_text and parameters.is_streamed(api):
        yield Problem("return_full_text", f"a stream holds the generated text alone{by_default}")
    if parameters.max_time is not None and parameters.is_full_text(api):
        yield Problem(
            "max_time",
            'a reply cut by time does not repeat the prompt; give "return_full_text": false',
        )
    if parameters.max_time is not None and parameters.beams(api) > 1:
        yield Problem("max_time", 'beam search has no text before its end; give "num_beams": 1')
    if (parameters.num_return_sequences or 1) > 1 and parameters.beams(api) > 1:
        yield Problem(
            "num_return_sequences",
            'of a beam search only the best text is returned; give "do_sample": true',
        )
    if body.get("forced_bos_token_id") is not None and parameters.prompt is not None:
        yield Problem(
            "forced_bos_token_id", "would act after a prompt of one token, which the engine can not"
        )
