"""Triton's failures as the client's errors."""

import grpc

from aeolus_client.errors import (
    ConnectionFailedError,
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBrokenError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)
from aeolus_contract.failures import FailureKind, read_failure

# What gRPC says where no connection came about (grpc/grpc, src/core/load_balancing/pick_first).
NO_CONNECTION = "failed to connect to all addresses"
ERRORS: dict[FailureKind, type[ServiceError]] = {
    FailureKind.INVALID_REQUEST: InvalidRequestError,
    FailureKind.QUEUE_FULL: ServerBusyError,
    FailureKind.RESTARTING: ServerUnavailableError,
    FailureKind.NOT_LOADED: ServerUnavailableError,
    FailureKind.UNKNOWN_MODEL: ModelNotFoundError,
    FailureKind.STEP_DIED: ServerBrokenError,
    FailureKind.OTHER: GenerationFailedError,
}


def error_from_status(code: grpc.StatusCode, details: str | None) -> ServiceError:
    """Return the error for a gRPC status other than OK."""
    failure = read_failure(details or code.name)
    if failure.kind is not FailureKind.OTHER:
        return ERRORS[failure.kind](failure.text)
    text = failure.text
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.RESOURCE_EXHAUSTED:
            return InvalidRequestError(text)
        case grpc.StatusCode.NOT_FOUND:
            return ModelNotFoundError(text)
        case grpc.StatusCode.UNAVAILABLE if text.startswith(NO_CONNECTION):
            return ConnectionFailedError(f"Triton cannot be reached: {text}")
        case (
            grpc.StatusCode.UNAVAILABLE
            | grpc.StatusCode.CANCELLED
            | grpc.StatusCode.DEADLINE_EXCEEDED
        ):
            return ServerUnavailableError(f"Triton cannot be reached: {text}")
        case _:
            return GenerationFailedError(text)


def error_from_text(text: str) -> ServiceError:
    """Return the error for a failure that Triton reports only by its text."""
    failure = read_failure(text)
    return ERRORS[failure.kind](failure.text)
