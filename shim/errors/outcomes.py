"""The table of failures: the status, text and name in the log of each kind of error."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aeolus_client import (
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ServerBusyError,
    ServerEndingError,
    ServerUnavailableError,
    ServiceError,
)

logger = logging.getLogger(__name__)

DEADLINE_TEXT = "The request exceeded its deadline and was stopped."
ENDING_TEXT = "The server is shutting down; retry."


class NotAllowedError(ServiceError):
    """The API key does not allow what the request asks for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a kind of failure is answered, counted and logged."""

    status: int
    text: str | None = None
    """`{request_id}` in it is replaced; `None` for the error's own text."""
    refusal: str = ""
    """In the log and the metrics, why the request was not served."""
    log_level: int | None = None
    """At which the error's own text is logged, where the reply does not have it."""


OUTCOMES: Mapping[type[ServiceError], Outcome] = MappingProxyType(
    {
        InvalidRequestError: Outcome(400, refusal="invalid"),
        NotAllowedError: Outcome(403, refusal="not allowed"),
        ServerBusyError: Outcome(
            429, "Too many requests run or wait; try again later.", "busy", logging.INFO
        ),
        GenerationFailedError: Outcome(
            500,
            "Generation failed; the server's log says why, at request {request_id}.",
            log_level=logging.ERROR,
        ),
        ServerEndingError: Outcome(503, ENDING_TEXT, "draining"),
        ServerUnavailableError: Outcome(
            503,
            "The model server cannot be reached or is not ready; try again later.",
            "unavailable",
            logging.WARNING,
        ),
        DeadlineExceededError: Outcome(504, DEADLINE_TEXT, "deadline"),
    }
)


def outcome_of(error: ServiceError) -> Outcome:
    """Return the row of an error's class, or of its nearest base; else a 503."""
    for kind in type(error).__mro__:
        if kind in OUTCOMES:
            return OUTCOMES[kind]
    return OUTCOMES[ServerUnavailableError]


def status_and_text(error: ServiceError, request_id: str | None) -> tuple[int, str]:
    """Return what a client reads of a failure; what it cannot act on is only logged."""
    outcome = outcome_of(error)
    if outcome.log_level is not None:
        logger.log(outcome.log_level, "request %s: %s", request_id, error)
    if outcome.text is None:
        return outcome.status, str(error)
    return outcome.status, outcome.text.format(request_id=request_id)
