"""The service's error replies as the client's errors."""

import json
from typing import Any

import httpx

from aeolus_client.errors import (
    AuthenticationError,
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)

BY_STATUS: dict[int, type[ServiceError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: ModelNotFoundError,
    408: DeadlineExceededError,
    429: ServerBusyError,
    502: ServerUnavailableError,
    503: ServerUnavailableError,
    504: DeadlineExceededError,
}
# OpenAI's `code` or else `type` of an error inside a stream, where it is too late for a status.
BY_WORD: dict[str, type[ServiceError]] = {
    "service_unavailable": ServerUnavailableError,
    "timeout": DeadlineExceededError,
    "invalid_request_error": InvalidRequestError,
    "requests": ServerBusyError,
}


def error_from_response(response: httpx.Response, body: str) -> ServiceError:
    """Return the error of a reply whose status is not 2xx."""
    status = response.status_code
    if status < 400:
        where = response.headers.get("location", "nowhere")
        return InvalidRequestError(f"{response.url} answers with a redirect to {where}")
    by_range = InvalidRequestError if status < 500 else GenerationFailedError
    text = _text(body) or response.reason_phrase or f"status {status}"
    return BY_STATUS.get(status, by_range)(text)


def error_from_event(data: str) -> ServiceError:
    """Return the error that ends a stream of events; predict's have the status in them."""
    content = json.loads(data)
    error = content.get("error")
    words = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    kinds = [BY_WORD[each] for each in words if each in BY_WORD]
    kinds.append(BY_STATUS.get(content.get("status"), GenerationFailedError))
    return kinds[0](_text(data))


def _text(body: str) -> str:
    """Return what an error body says, whichever family's shape it has."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return body.strip()[:500]
    if isinstance(content, dict):
        content = content.get("error", content.get("detail", content))
    if isinstance(content, dict):
        content = content.get("message", content)
    if isinstance(content, list):
        content = "; ".join(_problem(each) for each in content)
    return str(content)


def _problem(problem: Any) -> str:
    """Return one of FastAPI's validation problems as a line."""
    if not isinstance(problem, dict):
        return str(problem)
    where = ".".join(str(each) for each in problem.get("loc", ()))
    return f"{where}: {problem.get('msg', problem)}"
