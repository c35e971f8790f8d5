"""Error replies, each in the shape of its API family.

The predict routes answer as the Truss server does (basetenlabs/truss,
truss/templates/server/_truss_common/errors.py at 4db5791), the Zephyr routes as FastAPI does,
OpenAI's as OpenAI.
"""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from aeolus_client import (
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ServerBusyError,
    ServerEndingError,
    ServiceError,
)
from shim.families.openai.errors import INVALID_VALUE, is_openai_path, openai_error
from shim.generation.priority import PriorityNotAllowedError
from shim.parameters.refusals import RefusedParameterError

ZEPHYR_PREFIX = "/zephyr/"
RETRY_AFTER_SECONDS = "1"
DEADLINE_TEXT = "The request took longer than it may, and was stopped."
ENDING_TEXT = "This server is about to end; ask another one, or later."
CLIENT_CLOSED_REQUEST = 499  # the log's word for it; nobody is there to read the reply
ERROR_SOURCE = "04"  # Truss: the error is the model server's
INPUT_ERROR_CODE = "700"
"""Truss: the input could not be read or used (its InputParsingError)."""
INPUT_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
MODEL_ERROR_CODE = "600"
"""Truss: whatever else is known to go wrong (HTTPException, ModelNotReady, UserCodeError)."""
UNEXPECTED_ERROR_CODE = "500"
"""Truss: an exception that nobody has foreseen."""

logger = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of a route a reply of `error_reply`."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(Exception, _on_unexpected_error)


def error_reply(
    request: Request,
    status: int,
    text: str,
    headers: dict[str, str] | None = None,
    parameter: str | None = None,
    truss_code: str | None = None,
) -> JSONResponse:
    """Return an error in the shape that clients of the requested path expect.

    Args:
        request: what it answers.
        status: of the reply.
        text: what is wrong.
        headers: further ones.
        parameter: the one that is wrong, for the shape that has a place for it.
        truss_code: `x-baseten-error-code`, where the status does not decide it.
    """
    headers = dict(headers or {})
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers.setdefault("retry-after", RETRY_AFTER_SECONDS)
    path = request.scope["path"]
    if path.startswith(ZEPHYR_PREFIX):
        return JSONResponse({"detail": text}, status, headers)
    if is_openai_path(path):
        code = INVALID_VALUE if parameter else None
        return JSONResponse(openai_error(status, text, parameter, code), status, headers)
    return JSONResponse({"error": text}, status, headers | truss_headers(status, truss_code))


def truss_headers(status: int, code: str | None = None) -> dict[str, str]:
    """Return what the Truss server says of an error beside its text."""
    code = code or (INPUT_ERROR_CODE if status in INPUT_ERRORS else MODEL_ERROR_CODE)
    return {"x-baseten-error-source": ERROR_SOURCE, "x-baseten-error-code": code}


def status_and_text(error: ServiceError, request_id: str | None) -> tuple[int, str]:
    """Return what a client is told of a failure; what it cannot act on is only logged."""
    match error:
        case InvalidRequestError():
            return 400, str(error)
        case PriorityNotAllowedError():
            return 403, str(error)
        case ServerBusyError():
            logger.info("request %s: %s", request_id, error)
            return 429, "Too many requests run or wait; try again later."
        case DeadlineExceededError():
            return 504, DEADLINE_TEXT
        case GenerationFailedError():
            logger.error("request %s failed: %s", request_id, error)
            return 500, f"Generation failed; the server's log says why, at request {request_id}."
        case ServerEndingError():
            return 503, ENDING_TEXT
        case _:
            logger.warning("request %s could not be run: %s", request_id, error)
            return 503, "The model server cannot be reached or is not ready; try again later."


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = error.detail
    if text == HTTPStatus.NOT_FOUND.phrase:
        text = f"There is no {request.url.path} here; GET / lists the routes."
    elif text == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
        allowed = (error.headers or {}).get("Allow")
        text = f"{request.method} is not allowed on {request.url.path}; allowed: {allowed}."
    return error_reply(request, error.status_code, text, dict(error.headers or {}))


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    request_id = getattr(request.state, "request_id", None)
    parameter = error.parameter if isinstance(error, RefusedParameterError) else None
    return error_reply(request, *status_and_text(error, request_id), parameter=parameter)


async def _on_client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_unexpected_error(request: Request, _error: Exception) -> Response:
    return error_reply(request, 500, "Internal Server Error", truss_code=UNEXPECTED_ERROR_CODE)
