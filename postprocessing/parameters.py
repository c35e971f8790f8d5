"""The request parameters that say what the text of a reply is."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TextParameters:
    """What holds for every response of a request."""

    skip_special_tokens: bool
    stop: tuple[str, ...] = ()
    end_ids: frozenset[int] | None = None
    """Ids that end the reply and do not show; `None` for the checkpoint's."""
    return_output_ids: bool = False
    prompt_in_output: bool = False
    max_tokens: int | None = None
    """Tokens at which a stream is over, the engine saying no more; `None` if not known."""


def parse_parameters(text: str, skip_special_tokens: bool) -> TextParameters:
    """Read `InferenceRequest.parameters()` of the Python backend; unknown ones are skipped.

    Preprocessing has refused what is not valid.

    Args:
        text: a JSON object or nothing.
        skip_special_tokens: what holds where the request does not say.
    """
    values: dict[str, Any] = json.loads(text) if text else {}
    return TextParameters(
        skip_special_tokens=values.get("skip_special_tokens", skip_special_tokens),
        stop=tuple(each for each in json.loads(values.get("stop", "[]")) if each),
        end_ids=frozenset(json.loads(values["end_ids"])) if "end_ids" in values else None,
        return_output_ids=values.get("return_output_ids", False),
        prompt_in_output=values.get("prompt_in_output", False),
        max_tokens=values.get("max_tokens"),
    )
