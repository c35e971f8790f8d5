"""The parameters of a request under Hugging Face's names, typed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from shim.parameters.fields import ParameterFields
from shim.parameters.guides import Guide
from shim.parameters.table import Row, generate_map

Text = Annotated[str, Field(min_length=1)]

INPUTS = ("prompt", "messages", "user_message", "system_message", "input_ids", "inputs")
WITHOUT_BEAMS = ("stop", "stop_strings", "sequence_bias", "logit_bias")
REFUSED = {name for name, row in generate_map().items() if row.category == "refused"}


class TextPart(BaseModel):
    """One piece of a message's content."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


def _as_parts(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list):
        return content
    raise PydanticCustomError("content", "Input should be a string or a list of text parts")


Content = Annotated[
    list[TextPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart])
]
"""A message's text, also in pieces."""


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Text
    content: Content

    @property
    def text(self) -> str:
        """The content as one text."""
        return "".join(part.text for part in self.content)


class Parameters(ParameterFields):
    """What a request says that decides its result; `None` means not given.

    The ranges are in the table of generate() parameters; `read_parameters` checks them.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: Text | None = None
    messages: Annotated[list[ChatMessage] | None, Field(min_length=1)] = None
    user_message: Text | None = None
    system_message: str | None = None

    @property
    def token_ids(self) -> list[int] | None:
        """The prompt where it came as token ids, without padding."""
        ids = self.inputs if self.input_ids is None else self.input_ids
        if ids is None or self.attention_mask is None:
            return ids
        return ids[self.attention_mask.count(0) :]

    @property
    def guide(self) -> Guide | None:
        """What the reply must match."""
        if self.guided_decoding is not None:
            return self.guided_decoding.as_guide
        return None if self.response_format is None else self.response_format.as_guide

    @property
    def without_beams(self) -> dict[str, object]:
        """The parameters that mean something else in a beam search, by name."""
        return {name: getattr(self, name) for name in WITHOUT_BEAMS}


def parameter_fields(table: Mapping[str, Row]) -> Any:
    """Return the parameters that a table does not refuse as fields of a pydantic model."""
    return {
        # A pydantic field may not begin with an underscore, a parameter may.
        name.lstrip("_"): (
            row.annotation | None,
            Field(None, alias=name if name.startswith("_") else None, description=row.how),
        )
        for name, row in table.items()
        if row.category != "refused"
    }


CheckedParameters: type[Parameters] = create_model(
    "Parameters", __base__=Parameters, **parameter_fields(generate_map())
)
"""Everything that a predict request may say, with the table's types and ranges."""
