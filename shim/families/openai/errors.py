"""Errors in the shape of OpenAI's API."""

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from shim.errors.family import ErrorReport
from shim.parameters.problems import InvalidParametersError

OPENAI_PREFIX = "/v1/"
TRUSS_PREFIX = "/v1/models/"
INVALID_VALUE = "invalid_value"
TEXT = {"type": "string"}
ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "message": TEXT,
        "type": TEXT,
        "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    },
    "required": ["message", "type"],
}


def is_openai_path(path: str) -> bool:
    """Whether OpenAI's clients expect their errors' shape at a path."""
    return path.startswith(OPENAI_PREFIX) and not path.startswith(TRUSS_PREFIX)


def error_body(report: ErrorReport) -> dict[str, Any]:
    """Return the body of an error."""
    code = INVALID_VALUE if report.parameter else None
    return openai_error(report.status, report.text, report.parameter, code)


def openai_error(
    status: int, text: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the error object of a status.

    Args:
        status: of the reply.
        text: what is wrong.
        param: name of the parameter that is wrong.
        code: OpenAI's word for the error, where the status does not decide it.
    """
    match status:
        case HTTPStatus.UNAUTHORIZED:
            kind, code = "invalid_request_error", "invalid_api_key"
        case HTTPStatus.TOO_MANY_REQUESTS:
            kind, code = "requests", "rate_limit_exceeded"
        case HTTPStatus.SERVICE_UNAVAILABLE:
            kind, code = "server_error", "service_unavailable"
        case HTTPStatus.GATEWAY_TIMEOUT:
            kind, code = "server_error", "timeout"
        case _:
            kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": text, "type": kind, "param": param, "code": code}}


def invalid_parameters(error: InvalidParametersError) -> JSONResponse:
    """Return the refusal of parameters, which names the first one that is wrong."""
    first = error.problems[0]
    code = "unknown_parameter" if first.is_unknown else INVALID_VALUE
    return JSONResponse(openai_error(400, str(error.detail), first.parameter, code), 400)


def model_not_found(text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return that there is no such model."""
    return JSONResponse(openai_error(404, text, "model", "model_not_found"), 404, headers)
