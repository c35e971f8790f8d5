"""Triton's failures as the client's errors."""

import re

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

# The C++ backend reports a full queue as INTERNAL with this text (NVIDIA/TensorRT-LLM,
# cpp/tensorrt_llm/executor/executorImpl.cpp); the reference engine says the same.
QUEUE_FULL = "Maximum queue size"
# The reference engine lost a tensor parallel rank; it is on its way back.
RANKS_RESTART = "all ranks start again"
# Triton does not start the process of a Python model again, and goes on to say that it is ready
# (triton-inference-server/python_backend, src/stub_launcher.cc).
STAGE_DIED = re.compile(r"Stub process '[^']*' is not healthy")
# What preprocessing and the reference engine begin a refusal with: Triton reports an error inside a
# stream by its text alone.
INVALID_REQUEST = "invalid request: "
UNKNOWN_MODEL = re.compile(r"unknown model: '[^']*' is not found")
# What gRPC says where no connection came about (grpc/grpc, src/core/load_balancing/pick_first).
NO_CONNECTION = "failed to connect to all addresses"
NO_VERSION = "has no available versions"
ENSEMBLE_PREFIX = re.compile(r"^in ensemble '[^']*', ")


def error_from_status(code: grpc.StatusCode, details: str | None) -> ServiceError:
    """Return the error for a gRPC status other than OK."""
    text = ENSEMBLE_PREFIX.sub("", details or code.name)
    by_text = error_from_text(text)
    if not isinstance(by_text, GenerationFailedError):
        return by_text
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
    """Return the error for a failure that Triton reports by its text alone."""
    text = ENSEMBLE_PREFIX.sub("", text)
    if text.startswith(INVALID_REQUEST):
        return InvalidRequestError(text.removeprefix(INVALID_REQUEST))
    if QUEUE_FULL in text:
        return ServerBusyError(text)
    if NO_VERSION in text or RANKS_RESTART in text:
        return ServerUnavailableError(text)
    if UNKNOWN_MODEL.search(text):
        return ModelNotFoundError(text)
    if STAGE_DIED.search(text):
        return ServerBrokenError(text)
    return GenerationFailedError(text)
