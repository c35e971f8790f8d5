"""Clients of models that Aeolus serves: by REST, or by gRPC or HTTP from Triton itself."""

from aeolus_client.backend import ModelInfo
from aeolus_client.chat import AsyncChat
from aeolus_client.client import AsyncClient, Prompt
from aeolus_client.errors import (
    AuthenticationError,
    ConnectionFailedError,
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
from aeolus_client.parameters import GenerateParameters
from aeolus_client.rest.backend import Prediction
from aeolus_client.sync import Chat, Client
from aeolus_client.triton import TritonClient, gather

__all__ = [
    "AsyncChat",
    "AsyncClient",
    "AuthenticationError",
    "Chat",
    "Client",
    "Completion",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "FinishReason",
    "GenerateParameters",
    "GenerationFailedError",
    "GenerationRequest",
    "InvalidRequestError",
    "Message",
    "ModelInfo",
    "ModelNotFoundError",
    "Prediction",
    "Prompt",
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
