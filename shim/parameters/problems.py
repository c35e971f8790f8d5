"""What is wrong with a request's parameters, in words."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastapi import HTTPException
from pydantic_core import ErrorDetails

from shim.parameters.table import Row

MAX_REPORTED = 10
MAX_QUOTED = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the parameter it is wrong with."""

    parameter: str
    text: str
    is_unknown: bool = False

    def __str__(self) -> str:
        return self.text if self.is_unknown else f"{self.parameter}: {self.text}"


class InvalidParametersError(HTTPException):
    """422 with every problem of a request."""

    def __init__(self, problems: list[Problem]):
        super().__init__(422, "; ".join(map(str, problems)))
        self.problems = problems


def describe(error: ErrorDetails) -> Problem:
    """Return what pydantic found wrong with a value."""
    first, *rest = error["loc"]
    place = str(first)[:MAX_QUOTED] + "".join(
        f"[{each}]" if isinstance(each, int) else f".{each[:MAX_QUOTED]}" for each in rest
    )
    if rest and error["type"] in ("extra_forbidden", "model_type"):
        what = "text part is an object of type and text"
        if "content" not in rest:
            what = "message is an object of role and content"
        return Problem(place, f"a {what}, nothing else")
    return Problem(place, error["msg"])


def unknown_parameter(name: str, known: Collection[str]) -> Problem:
    """Return that there is no such parameter, and the known one it may have been meant for."""
    quoted = name[:MAX_QUOTED]
    nearest = get_close_matches(quoted, known, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return Problem(quoted, f"unknown parameter '{quoted}'{hint}", is_unknown=True)


def refusals(values: dict[str, Any], table: Mapping[str, Row]) -> Iterator[Problem]:
    """Yield the parameters that the table refuses, unless their values are neutral."""
    for name, value in values.items():
        row = table.get(name)
        if row and row.category == "refused" and not row.is_neutral(value):
            yield Problem(name, f"{quote(value)} is refused: {row.how}")


def quote(value: Any) -> str:
    """Return a value as JSON, cut to a length that an error text has room for."""
    return shorten(json.dumps(value, ensure_ascii=False))


def shorten(text: str) -> str:
    """Return a text cut to a length that an error text has room for."""
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."
