"""Every failure of a route becomes an error reply of its family."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from aeolus_client import ServiceError
from shim.errors.family import ErrorReport, error_reply, family_of
from shim.errors.outcomes import status_and_text
from shim.parameters.refusals import RefusedParameterError

CLIENT_CLOSED_REQUEST = 499  # for the log; no client is there to read the reply


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of a route a reply of `error_reply`."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(Exception, _on_unexpected_error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = error.detail
    if text == HTTPStatus.NOT_FOUND.phrase:
        text = f"There is no {request.url.path} here; GET / lists the routes."
    elif text == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
        allowed = (error.headers or {}).get("Allow")
        text = f"{request.method} is not allowed on {request.url.path}; allowed: {allowed}."
    return error_reply(request, error.status_code, text, error.headers)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    request_id = getattr(request.state, "request_id", None)
    parameter = error.parameter if isinstance(error, RefusedParameterError) else None
    return error_reply(request, *status_and_text(error, request_id), parameter=parameter)


async def _on_client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_unexpected_error(request: Request, _error: Exception) -> Response:
    report = ErrorReport(500, "Internal Server Error", is_unexpected=True)
    return family_of(request).error_reply(report)
