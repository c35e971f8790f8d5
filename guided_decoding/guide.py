"""What a reply must match."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

GuideType = Literal["json", "json_schema", "regex", "ebnf_grammar"]
MAX_GUIDE_BYTES = 1 << 16


class GuideError(ValueError):
    """The guide cannot be followed; the text says where it is wrong, and how."""


@dataclass(frozen=True, slots=True)
class Guide:
    """One of TensorRT-LLM's guides (`GuidedDecodingParams`); `json` is any object or array.

    `text` is the schema, the regular expression, or the grammar in EBNF with a rule `root`.
    """

    kind: GuideType
    text: str = ""

    @classmethod
    def of(cls, kind: str, text: str | None) -> "Guide":
        """Return the guide of two tensors' values.

        Raises:
            GuideError: there is no such kind of guide, or its text is missing or too long.
        """
        if kind not in get_args(GuideType):
            raise GuideError(
                f"no guide is of type '{kind[:40]}'; use {', '.join(get_args(GuideType))}"
            )
        if kind == "json":
            if text:
                raise GuideError("a guide of type json has no text; use json_schema")
        elif not text:
            raise GuideError(f"a guide of type {kind} needs its text")
        elif (size := len(text.encode())) > MAX_GUIDE_BYTES:
            raise GuideError(f"the guide has {size} bytes; send {MAX_GUIDE_BYTES} or fewer")
        return cls(cast(GuideType, kind), text or "")
