"""The request parameters: what Triton hands to every step unchanged.

They carry what the step behind the decoupled engine must know, to which no tensor from before the
engine can be connected. Lists travel as JSON text: Triton knows strings, integers and booleans.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.parameters import EngineName, FixedValue

MAX_STOP_STRINGS = 64
MAX_END_IDS = 64
MAX_UNKNOWN_NAMES = 1000
WireValue = str | bool | int | float
DEFAULT_PRIORITY = 0.5
"""Of a request that does not say; TensorRT-LLM's `Request.kDefaultPriority`
(cpp/include/tensorrt_llm/executor/executor.h)."""
FIXED_PRIORITIES: Mapping[EngineName, FixedValue] = MappingProxyType(
    {
        "tensorrtllm-1.2.1": FixedValue(
            value=DEFAULT_PRIORITY,
            reason="TensorRT-LLM's C++ backend passes no priority to its executor",
        )
    }
)
"""The priority by which an engine serves all its requests, where it cannot be told one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """All of them; `None` or false where the request does not say."""

    stop: tuple[str, ...] = ()
    """Texts that end the reply and are cut from it."""
    end_ids: tuple[int, ...] | None = None
    """Token ids that end the reply and do not show, instead of the checkpoint's."""
    skip_special_tokens: bool | None = None
    return_output_ids: bool = False
    prompt_in_output: bool = False
    """Whether a whole reply repeats the prompt, in which no stop string is looked for."""
    max_tokens: int | None = None
    """Tokens at which a stream is over, the engine saying no more."""
    split_special_tokens: bool | None = None
    """Whether what spells a control token is text; `None` for the deployment's choice."""
    add_generation_prompt: bool | None = None
    """Whether the heading of a reply follows the messages; `None` for yes, unless the last one is
    continued."""
    continue_final_message: bool = False
    """Whether the reply continues the last message."""
    request_priority: float | None = None
    """Of the requests that wait the engine takes the higher first, from 0 to 1; `None` for 0.5.
    Triton keeps the name `priority` for the queues of its own batchers."""

    def to_wire(self) -> dict[str, WireValue]:
        """Return Triton's request parameters; what does not differ from the default is left out."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {
            name: json.dumps(value) if isinstance(value, tuple) else value
            for name, (value, default) in values.items()
            if value != default
        }


KNOWN = frozenset(each.name for each in fields(RequestParameters))


def read_request_parameters(text: str) -> RequestParameters:
    """Read `InferenceRequest.parameters()` of the Python backend, a JSON object or nothing.

    Unknown names are skipped.

    Raises:
        InvalidRequestError: one of the known ones has a wrong value.
    """
    values = _object(text)
    add_generation_prompt = _boolean(values, "add_generation_prompt")
    continue_final_message = bool(_boolean(values, "continue_final_message"))
    if add_generation_prompt and continue_final_message:
        raise InvalidRequestError(
            "add_generation_prompt and continue_final_message are both true, but what is continued "
            "is not followed by a heading; send one of them"
        )
    return RequestParameters(
        stop=_stop(values),
        end_ids=_end_ids(values),
        skip_special_tokens=_boolean(values, "skip_special_tokens"),
        return_output_ids=bool(_boolean(values, "return_output_ids")),
        prompt_in_output=bool(_boolean(values, "prompt_in_output")),
        max_tokens=_integer(values, "max_tokens"),
        split_special_tokens=_boolean(values, "split_special_tokens"),
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        request_priority=_priority(values),
    )


class UnknownParameters:
    """Reports parameters that nobody reads, each name once: most are misspelt tensors."""

    def __init__(self, warn: Callable[[str], None]):
        """Report to `warn`."""
        self._warn = warn
        self._reported: set[str] = set()

    def check(self, text: str) -> None:
        """Warn of the unknown names in a request's parameters, but for Triton's own."""
        for name in _object(text).keys() - KNOWN - self._reported:
            if not name.startswith("triton_") and len(self._reported) < MAX_UNKNOWN_NAMES:
                self._reported.add(name)
                self._warn(
                    f"request parameter {name!r} is not known and has no effect; if a tensor was "
                    "meant, its name is misspelt"
                )


def _object(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text) if text else {}
    return values


def _boolean(values: dict[str, Any], name: str) -> bool | None:
    value = values.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidRequestError(f"{name} is {value!r}; it must be a boolean")


def _integer(values: dict[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None or type(value) is int:
        return value
    raise InvalidRequestError(f"{name} is {value!r}; it must be an integer")


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
