"""The request bodies of the zephyr-7b-beta API; `None` means the README's default."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from shim.parameters.parameters import Text
from shim.parameters.table import generate_map

TABLE = generate_map()


class ZephyrQuery(BaseModel):
    """Numbers may come as strings, as with the original; unknown names may not."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    priority: Annotated[float, TABLE["priority"].bounds] | None = None


class RawQuery(ZephyrQuery):
    """A message, all else fixed."""

    user_message: Text


class SampledQuery(ZephyrQuery):
    """What each query may say of the sampling."""

    max_new_tokens: Annotated[int, TABLE["max_new_tokens"].bounds] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, TABLE["temperature"].bounds] | None = None
    top_k: Annotated[int, TABLE["top_k"].bounds] | None = None
    top_p: Annotated[float, TABLE["top_p"].bounds] | None = None


SAMPLING = set(SampledQuery.model_fields)


class QueryModel(SampledQuery):
    """A message to a model that was given a system message."""

    user_message: Text
    system_message: str | None = None


class CodeDocQuery(SampledQuery):
    """Code to document."""

    code: Text
    language: str | None = None
    include_comments: bool | None = None
