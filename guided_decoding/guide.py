"""What a reply must match."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

GuideType = Literal["json", "json_schema", "regex", "ebnf_grammar"]


class GuideError(ValueError):
    """The guide cannot be followed; the text says where it is wrong, and how."""


@dataclass(frozen=True, slots=True)
class Guide:
    """One of TensorRT-LLM's guides (`GuidedDecodingParams`); `json` is any object or array.

    `text` is the schema, the regular expression, or the grammar in EBNF with a rule `root`.
    """

    kind: GuideType
    text: str = ""


def read_guide(kind: str | None, text: str | None) -> Guide | None:
    """Return the guide of the values of two tensors, where there is one.

    Args:
        kind: of `guided_decoding_guide_type`.
        text: of `guided_decoding_guide`.

    Raises:
        GuideError: there is no such kind of guide, or its text is missing.
    """
    if kind is None:
        if text is not None:
            raise GuideError("guided_decoding_guide goes with guided_decoding_guide_type")
        return None
    if kind not in get_args(GuideType):
        raise GuideError(
            f"guided_decoding_guide_type is '{kind[:40]}'; use {', '.join(get_args(GuideType))}"
        )
    if kind == "json":
        if text:
            raise GuideError("guided_decoding_guide: type json has none; use json_schema")
    elif not text:
        raise GuideError(f"guided_decoding_guide is missing; type {kind} needs one")
    return Guide(cast(GuideType, kind), text or "")
