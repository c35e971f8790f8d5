"""The parameters of a request under Hugging Face's names, typed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from catalog import PredictApi
from shim.parameters.fields import ParameterFields
from shim.parameters.guides import Guide
from shim.parameters.table import Row, generate_map

Decoding = Literal["beams", "sampling", "greedy"]
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

    def beams(self, api: PredictApi) -> int:
        """Beams asked for, or the default where nothing asked for contradicts it."""
        if self.num_beams is not None:
            return self.num_beams
        has_one = self.do_sample or self.is_streamed(api) or self.guide is not None
        if has_one or any(self.without_beams.values()):
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
