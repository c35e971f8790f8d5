"""The body of a response, and the chat that it asks for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from catalog import ModelEntry
from shim.families.openai.bodies import (
    MAX_TOP_LOGPROBS,
    ChatBody,
    OpenAIBody,
    OpenAIMessage,
    Strict,
    Table,
)
from shim.families.openai.plans import Plan, plan_chat
from shim.parameters.problems import InvalidParametersError
from shim.parameters.table import generate_map, responses_map

LOGPROBS = "message.output_text.logprobs"
NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "logprobs": "include",
}
"""A chat's parameters, and what they are called here."""


class TextContent(Strict):
    """One piece of a turn: a user's, or of a reply that is sent back."""

    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


def _as_contents(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    if isinstance(content, list):
        return content
    raise PydanticCustomError("content", "Input should be a string or a list of text parts")


class InputMessage(Strict):
    """One turn of the conversation; of a reply that is sent back, its text counts."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[TextContent],
        BeforeValidator(_as_contents, json_schema_input_type=str | list[TextContent]),
    ]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


def _not_stored(item: object) -> object:
    if isinstance(item, dict) and item.get("type") == "item_reference":
        raise PydanticCustomError("item_reference", "nothing is stored here; send the item itself")
    return item


def _as_items(value: object) -> object:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


InputItem = Annotated[InputMessage, BeforeValidator(_not_stored)]
Input = Annotated[
    list[InputItem],
    Field(min_length=1),
    BeforeValidator(_as_items, json_schema_input_type=str | list[InputItem]),
]


class TextOptions(Strict):
    """How the text is written."""

    format: dict[str, Any] | None = None
    verbosity: Literal["medium"] | None = None

    def as_response_format(self) -> dict[str, Any] | None:
        """Return the format as a chat names it."""
        if self.format is None or self.format.get("type") != "json_schema":
            return self.format
        schema = {name: value for name, value in self.format.items() if name != "type"}
        return {"type": "json_schema", "json_schema": schema}


class ResponseBody(OpenAIBody):
    """A text or a conversation to answer."""

    table: ClassVar[Callable[[], Table]] = responses_map

    input: Input
    instructions: str | None = None
    max_output_tokens: Annotated[int, generate_map()["max_new_tokens"].bounds] | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    text: TextOptions | None = None

    def as_chat(self) -> ChatBody:
        """Return the chat with the same meaning."""
        turns = [] if self.instructions is None else [("system", self.instructions)]
        turns += [(item.role, "".join(each.text for each in item.content)) for item in self.input]
        return ChatBody(
            model=self.model,
            stream=self.stream,
            messages=[
                OpenAIMessage.model_validate({"role": role, "content": text})
                for role, text in turns
            ],
            max_completion_tokens=self.max_output_tokens,
            logprobs=LOGPROBS in (self.include or []) or bool(self.top_logprobs),
            top_logprobs=self.top_logprobs,
        )


def plan_response(body: ResponseBody, others: dict[str, Any], model: ModelEntry) -> Plan:
    """Translate a response.

    Raises:
        InvalidParametersError: with every problem.
    """
    response_format = body.text and body.text.as_response_format()
    if response_format is not None:
        others = others | {"response_format": response_format}
    try:
        return plan_chat(body.as_chat(), others, model)
    except InvalidParametersError as error:
        problems = [
            replace(each, parameter=NAMES.get(each.parameter, each.parameter))
            for each in error.problems
        ]
        raise InvalidParametersError(problems) from None
