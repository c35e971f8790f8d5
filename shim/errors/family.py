"""An API family: the routes that share one form of error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

RETRY_AFTER_SECONDS = "1"
RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
MEANINGS: Mapping[int, str] = {
    400: "The body is not a JSON object, or the request cannot be run.",
    401: "An API key is needed, or is not valid.",
    403: "The API key does not allow what is asked for.",
    404: "There is no such path or model.",
    405: "The path takes another method.",
    413: "The body is too large.",
    415: "The body has an encoding or a charset that is not supported.",
    422: "A parameter is wrong; the text names it.",
    429: "Too many requests run or wait, or the key's rate is used up.",
    500: "Generation failed.",
    503: "The model server cannot be reached, or this server is shutting down.",
    504: "The request exceeded its deadline and was stopped.",
}
"""What the statuses of error replies mean, for OpenAPI."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One failure, before it has the shape of a family."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parameter: str | None = None
    """The one that is wrong, for the shape that has a place for it."""
    is_unexpected: bool = False
    """Whether nobody has foreseen it."""


@dataclass(frozen=True, slots=True)
class Family:
    """Routes, and how their errors look."""

    name: str
    router: APIRouter
    owns: Callable[[str], bool]
    """Whether a path is one that the family's clients ask for."""
    error_body: Callable[[ErrorReport], dict[str, Any]]
    error_schema: dict[str, Any]
    """The JSON schema of `error_body`."""
    error_headers: Callable[[ErrorReport], Mapping[str, str]] = lambda _: {}

    def error_reply(self, report: ErrorReport) -> JSONResponse:
        """Return a failure in the family's shape."""
        headers = dict(report.headers)
        if report.status in RETRIED:
            headers.setdefault("retry-after", RETRY_AFTER_SECONDS)
        headers |= self.error_headers(report)
        return JSONResponse(self.error_body(report), report.status, headers)

    def error_responses(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        """Return the OpenAPI field `responses` of these statuses; of all, if none is named."""
        return {
            status: {
                "description": MEANINGS[status],
                "content": {
                    "application/json": {
                        "schema": self.error_schema,
                        "example": self.error_body(ErrorReport(status, MEANINGS[status])),
                    }
                },
            }
            | ({"headers": RETRY_AFTER} if status in RETRIED else {})
            for status in statuses or MEANINGS
        }


RETRY_AFTER = {
    "Retry-After": {"description": "Seconds until a retry is useful.", "schema": {"type": "string"}}
}


def object_schema(member: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object with one required member."""
    return {"type": "object", "properties": {member: schema}, "required": [member]}


def family_of(request: Request) -> Family:
    """Return the family whose clients ask for the path: the first that owns it."""
    families: tuple[Family, ...] = request.scope["app"].state.families
    return next(each for each in families if each.owns(request.scope["path"]))


def error_reply(
    request: Request,
    status: int,
    text: str,
    headers: Mapping[str, str] | None = None,
    parameter: str | None = None,
) -> JSONResponse:
    """Return an error in the shape that clients of the requested path expect."""
    return family_of(request).error_reply(ErrorReport(status, text, headers or {}, parameter))
