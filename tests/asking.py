"""The question that the demo checkpoint knows an answer to, and a way to ask it."""

from typing import Any, Protocol

from client import Completion

QUESTION: Any = [{"role": "user", "content": "What is a zephyr?"}]


class Ask(Protocol):
    """Sends the question with other values of a `GenerationRequest`; returns the reply."""

    def __call__(self, **values: Any) -> Completion: ...
