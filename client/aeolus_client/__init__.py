"""Clients of a served model."""

from aeolus_client.errors import (
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBrokenError,
    ServerBusyError,
    ServerEndingError,
    ServerUnavailableError,
    ServiceError,
)
from aeolus_client.generation import (
    Completion,
    FinishReason,
    GenerationRequest,
    Message,
    PromptLogProbs,
    TextChunk,
    TopTokens,
)
from aeolus_client.triton import TritonClient, gather

__all__ = [
    "Completion",
    "DeadlineExceededError",
    "FinishReason",
    "GenerationFailedError",
    "GenerationRequest",
    "InvalidRequestError",
    "Message",
    "ModelNotFoundError",
    "PromptLogProbs",
    "ServerBrokenError",
    "ServerBusyError",
    "ServerEndingError",
    "ServerUnavailableError",
    "ServiceError",
    "TextChunk",
    "TopTokens",
    "TritonClient",
    "gather",
]
