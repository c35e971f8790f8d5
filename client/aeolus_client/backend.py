"""What a client asks of one server, whatever the protocol."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aeolus_client.generation import Completion, Message, TextChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text or a conversation to continue: exactly one of `text` and `messages` is given."""

    text: str | None = None
    """Continued as it stands."""
    messages: list[Message] | None = None
    model: str | None = None
    """`None` means the server's first."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """By their Hugging Face names."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a server serves."""

    name: str
    context_length: int | None
    """Most tokens of prompt and reply together; `None` where the server does not say."""
    is_ready: bool


class Backend(Protocol):
    """One server. Every method raises a `ServiceError` when it cannot do what it says."""

    address: str

    async def complete(self, request: TextRequest) -> Completion:
        """Return the whole reply."""

    def stream(self, request: TextRequest) -> AsyncGenerator[TextChunk, None]:
        """Yield the reply as it comes; closing the generator stops the engine."""

    async def models(self) -> list[ModelInfo]:
        """Return what is served."""

    async def close(self) -> None:
        """Disconnect."""
