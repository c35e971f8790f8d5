"""The request parameters that the text stages read: what Triton hands to every step unchanged.

They carry what postprocessing must know too, which no tensor from before the decoupled engine can
tell it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from preprocessing.errors import InvalidRequestError

MAX_STOP_STRINGS = 64
MAX_END_IDS = 64
MAX_UNKNOWN_NAMES = 1000
BOOLEANS = (
    *("skip_special_tokens", "return_output_ids", "prompt_in_output"),
    *("split_special_tokens", "add_generation_prompt", "continue_final_message"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """What preprocessing acts by."""

    stop: tuple[str, ...] = ()
    """Texts that end the reply and are cut from it."""
    end_ids: tuple[int, ...] | None = None
    """Token ids that end the reply and do not show, instead of the checkpoint's."""
    request_priority: float | None = None
    """Which waiting requests the engine takes first: the higher, from 0 to 1."""
    split_special_tokens: bool | None = None
    """Whether what spells a control token is text; `None` for the deployment's choice."""
    add_generation_prompt: bool | None = None
    """Whether the heading of a reply follows the messages; `None` for yes, unless the last one is
    continued."""
    continue_final_message: bool = False
    """Whether the reply continues the last message."""


def parse_parameters(text: str) -> RequestParameters:
    """Read `InferenceRequest.parameters()` of the Python backend.

    Raises:
        InvalidRequestError: one of those known here has a wrong value.
    """
    values = _object(text)
    for name in BOOLEANS:
        if not isinstance(values.get(name, False), bool):
            raise InvalidRequestError(f"{name} is {values[name]!r}; it must be a boolean")
    max_tokens = values.get("max_tokens", 1)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise InvalidRequestError(f"max_tokens is {max_tokens!r}; it must be an integer")
    if values.get("add_generation_prompt") and values.get("continue_final_message"):
        raise InvalidRequestError(
            "add_generation_prompt and continue_final_message are both true, but what is continued "
            "is not followed by a heading; send one of them"
        )
    return RequestParameters(
        stop=_stop(values),
        end_ids=_end_ids(values),
        split_special_tokens=values.get("split_special_tokens"),
        add_generation_prompt=values.get("add_generation_prompt"),
        continue_final_message=values.get("continue_final_message", False),
        request_priority=_priority(values),
    )


class UnknownParameters:
    """Tells, once a name, of parameters that nobody reads: most are misspelt tensors."""

    KNOWN = frozenset({*BOOLEANS, "stop", "end_ids", "max_tokens", "request_priority"})

    def __init__(self, warn: Callable[[str], None]):
        """Tell `warn`."""
        self._warn = warn
        self._told: set[str] = set()

    def look_at(self, text: str) -> None:
        """Warn of the unknown names in a request's parameters, but for Triton's own."""
        for name in _object(text).keys() - self.KNOWN - self._told:
            if not name.startswith("triton_") and len(self._told) < MAX_UNKNOWN_NAMES:
                self._told.add(name)
                self._warn(
                    f"request parameter {name!r} is not known and has no effect; if a tensor was "
                    "meant, its name is misspelt"
                )


def _object(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text) if text else {}
    return values


def _stop(values: dict[str, Any]) -> tuple[str, ...]:
    strings = _list(values, "stop", '["\\n\\n", "User:"]')
    if not all(isinstance(each, str) for each in strings):
        raise InvalidRequestError("stop must be a JSON list of strings")
    if len(strings) > MAX_STOP_STRINGS:
        raise InvalidRequestError(
            f"stop has {len(strings)} strings; send {MAX_STOP_STRINGS} or fewer"
        )
    return tuple(each for each in strings if each)


def _priority(values: dict[str, Any]) -> float | None:
    value = values.get("request_priority")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRequestError(f"request_priority is {value!r}; it must be a number from 0 to 1")
    return value


def _end_ids(values: dict[str, Any]) -> tuple[int, ...] | None:
    if "end_ids" not in values:
        return None
    ids = _list(values, "end_ids", "[2, 32000]")
    if not all(type(each) is int for each in ids):
        raise InvalidRequestError("end_ids must be a JSON list of token ids")
    distinct = tuple(dict.fromkeys(ids))
    if len(distinct) > MAX_END_IDS:
        raise InvalidRequestError(
            f"end_ids has {len(distinct)} token ids; send {MAX_END_IDS} or fewer"
        )
    return distinct


def _list(values: dict[str, Any], name: str, example: str) -> list[Any]:
    value = values.get(name, "[]")
    try:
        content = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        content = None
    if not isinstance(content, list):
        raise InvalidRequestError(
            f"{name} is {value!r}; as a request parameter it must be a JSON list, such as {example}"
        )
    return content
