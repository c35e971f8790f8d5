"""Refusals of the ensemble, which knows a request's tensors, under the names the request used."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from client import InvalidRequestError
from shim.generate.table import generate_map

PROMPT_NAMES = [("text_input", "prompt"), ("input_ids", "prompt")]
ROWS = [row for row in generate_map().values() if row.category in ("native", "derived")]
NAMES = [*((str(row.becomes), row.name) for row in ROWS), *PROMPT_NAMES]
TENSOR = re.compile(rf"\b({'|'.join(tensor for tensor, _ in NAMES)})(?:_ids|_id_weights)?\b")


@contextmanager
def under_their_names(given: Collection[str]) -> Iterator[None]:
    """Name the parameters of a request, instead of what became of them, in what is raised.

    Args:
        given: the names that the request has.
    """
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(in_their_names(str(error), given)) from error


def in_their_names(text: str, given: Collection[str]) -> str:
    """Return an error text with a parameter's name for each tensor's."""

    def name(match: re.Match[str]) -> str:
        if match[0] in given:
            return match[0]
        names = [name for tensor, name in NAMES if tensor == match[1]]
        return " or ".join(each for each in names if each in given) or names[0]

    return TENSOR.sub(name, text)
