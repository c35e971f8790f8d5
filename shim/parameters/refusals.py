"""Refusals of the ensemble, which knows a request's tensors, under the names the request used."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from aeolus_client import InvalidRequestError
from shim.parameters.table import generate_map

PROMPT_NAMES = [("text_input", "prompt"), ("input_ids", "prompt")]
GUIDE_NAMES = [
    ("guided_decoding_guide", "text"),
    ("guided_decoding_guide_type", "guided_decoding"),
]
LOGPROBS_NAMES = [("prompt_logprobs", "echo"), ("top_logprobs", "logprobs")]
THE_PROMPT = "the prompt "
PROMPTS = ("messages", "input", "prompt", "user_message", "input_ids", "inputs")
ROWS = [row for row in generate_map().values() if row.category in ("native", "derived")]
NAMES = [
    *((str(row.becomes), row.name) for row in ROWS),
    *PROMPT_NAMES,
    *LOGPROBS_NAMES,
    *GUIDE_NAMES,
]
TENSOR = re.compile(rf"\b({'|'.join(tensor for tensor, _ in NAMES)})(?:_ids|_id_weights)?\b")


class RefusedParameterError(InvalidRequestError):
    """A refusal in the request's own names."""

    def __init__(self, text: str, parameter: str | None):
        super().__init__(text)
        self.parameter = parameter
        """The one that the text names first."""


@contextmanager
def in_request_names(given: Collection[str]) -> Iterator[None]:
    """Name the parameters of a request, instead of what became of them, in what is raised.

    Args:
        given: the names that the request has.

    Raises:
        RefusedParameterError: instead of every `InvalidRequestError`.
    """
    try:
        yield
    except InvalidRequestError as error:
        text = str(error)
        told = TENSOR.sub(lambda match: " or ".join(_names(match, given)), text)
        raise RefusedParameterError(told, _first_name(text, given)) from error


def _names(match: re.Match[str], given: Collection[str]) -> list[str]:
    """Return the parameters that a tensor's name may stand for."""
    if match[0] in given:
        return [match[0]]
    names = [name for tensor, name in NAMES if tensor == match[1]]
    return [each for each in names if each in given] or names[:1]


def _first_name(text: str, given: Collection[str]) -> str | None:
    if text.startswith(THE_PROMPT):
        return next((name for name in PROMPTS if name in given), None)
    tensor = TENSOR.search(text)
    return tensor and _names(tensor, given)[0]
