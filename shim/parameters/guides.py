"""What a reply must match, as requests say it: OpenAI's form, and TensorRT-LLM's."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Guide = tuple[str, str | None]
"""The values of the ensemble's two tensors: the type of a guide, and its text."""

ANY_OBJECT: dict[str, Any] = {"type": "object"}
GuideType = Literal["json", "json_schema", "regex", "ebnf_grammar"]


class Strict(BaseModel):
    """Every field is known and of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GuidedDecoding(Strict):
    """TensorRT-LLM's `GuidedDecodingParams`; a schema may also be an object."""

    type: GuideType
    guide: str | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> "GuidedDecoding":
        if (self.type == "json") != (self.guide is None):
            raise _wrong(self.type, "needs a guide" if self.guide is None else "has no guide")
        if isinstance(self.guide, dict) and self.type != "json_schema":
            raise _wrong(self.type, "has a string as its guide")
        return self

    @property
    def as_guide(self) -> Guide:
        """The guide."""
        guide = self.guide
        return self.type, _text(guide) if isinstance(guide, dict) else guide


class JsonSchema(Strict):
    """A schema as OpenAI's API wraps it; a reply matches it whether it is `strict` or not."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field(ANY_OBJECT, alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_a_schema_where_it_needs_one(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            what = "has no json_schema" if self.json_schema else "needs json_schema"
            raise _wrong(self.type, what)
        return self

    @property
    def as_guide(self) -> Guide | None:
        """The guide, if it is one."""
        if self.type == "text":
            return None
        schema = ANY_OBJECT if self.json_schema is None else self.json_schema.schema_
        return "json_schema", _text(schema)


def _text(schema: object) -> str:
    return json.dumps(schema, ensure_ascii=False)


def _wrong(kind: str, what: str) -> PydanticCustomError:
    return PydanticCustomError("guide", "type {kind} {what}", {"kind": kind, "what": what})
