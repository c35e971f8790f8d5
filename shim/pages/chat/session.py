"""What one browser tab holds: its conversation and its choices, kept in memory only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from catalog import ModelEntry, load_catalog
from shim.pages.chat.endpoints import Endpoint, Question, Turn, endpoints_of
from shim.pages.chat.service import ServiceProblemError

Role = Literal["user", "assistant"]
Notice = Literal["conversation", "reply", "choices"]
"""What has changed: messages came or went, the running reply, model or route."""

numbers = count()


@dataclass(slots=True, eq=False)
class Message:
    """One message; of a reply, also how it came about."""

    role: Role
    text: str
    model: str = ""
    is_code: bool = False
    language: str = ""
    is_running: bool = False
    finish_reason: str | None = None
    """Of a reply; `stopped` by the user, or the engine's."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    left_out: int = 0
    """Messages at the beginning of the conversation that no longer fitted."""
    problem: ServiceProblemError | None = None
    started_at: float = field(default_factory=time.monotonic)
    first_text_seconds: float | None = None
    """Until the first of several pieces."""
    seconds: float | None = None
    number: int = field(default_factory=lambda: next(numbers))
    """Distinguishes it within this process."""

    @property
    def tokens(self) -> int | None:
        """Tokens of the conversation up to here, as the engine has counted them."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


class Session:
    """The state of one tab."""

    def __init__(self, models: list[str]):
        """Begin with the first of the served models."""
        catalog = load_catalog()
        self.models: dict[str, ModelEntry] = {name: catalog[name] for name in models}
        self.messages: list[Message] = []
        self.draft = ""
        """What is written and not sent."""
        self.system_message = ""
        self.language = "python"
        self.include_comments = True
        self.api_key = ""
        self.is_dark: bool | None = None
        self.shows_engine = False
        self._given: dict[str, dict[str, Any]] = {name: {} for name in models}
        self._listeners: list[Callable[[Notice], None]] = []
        self._model = models[0]
        self._path = next(iter(endpoints_of(self.model)))

    @property
    def model(self) -> ModelEntry:
        """The chosen model."""
        return self.models[self._model]

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The chosen model's routes, by path."""
        return endpoints_of(self.model)

    @property
    def endpoint(self) -> Endpoint:
        """The chosen route."""
        return self.endpoints[self._path]

    @property
    def parameters(self) -> dict[str, Any]:
        """The chosen model's parameters that were changed from its README's defaults."""
        return self._given[self._model]

    @property
    def reply(self) -> Message | None:
        """The reply that is being written."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.is_running else None

    @property
    def tokens(self) -> int:
        """Tokens of the conversation, as of its last reply that was counted."""
        counted = (message.tokens for message in reversed(self.messages))
        return next((tokens for tokens in counted if tokens is not None), 0)

    def choose_model(self, name: str) -> None:
        """Choose a served model; the route stays if the model has it."""
        self._model = name
        if self._path not in self.endpoints:
            self._path = next(iter(self.endpoints))
        self.tell("choices")

    def choose_endpoint(self, path: str) -> None:
        """Choose one of the model's routes."""
        self._path = path
        self.tell("choices")

    def question(self, left_out: int = 0) -> Question:
        """Return what is to be asked: the conversation without its running reply.

        Args:
            left_out: how many messages at its beginning are not sent.
        """
        turns = list(self._turns())
        if self.endpoint.takes != "conversation":
            turns = turns[-1:]
        return Question(
            turns[left_out:],
            self.system_message,
            dict(self.parameters),
            self.language,
            self.include_comments,
        )

    def _turns(self) -> Iterator[Turn]:
        """Yield what was said; a message without any reply is not repeated."""
        said = [message for message in self.messages if not message.is_running]
        for place, message in enumerate(said):
            is_last = place == len(said) - 1
            if message.role == "user" and (is_last or said[place + 1].text):
                yield {"role": "user", "content": message.text}
            elif message.role == "assistant" and message.text:
                yield {"role": "assistant", "content": message.text}

    def listen(self, listener: Callable[[Notice], None]) -> Callable[[], None]:
        """Call `listener` at each change; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def is_watched(self) -> bool:
        """Whether a page shows it."""
        return bool(self._listeners)

    def tell(self, notice: Notice) -> None:
        """Tell every page that shows it what has changed."""
        for listener in list(self._listeners):
            listener(notice)
