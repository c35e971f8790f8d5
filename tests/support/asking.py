"""The question that the demo checkpoint knows an answer to, and ways to ask it."""

from typing import Any, Protocol

from aeolus_client import Completion

QUESTION: Any = [{"role": "user", "content": "What is a zephyr?"}]
TOKENS = 3500
LONG: dict[str, Any] = {
    "messages": QUESTION,
    "max_new_tokens": TOKENS,
    "min_new_tokens": TOKENS,
}
"""A body for the predict routes; its reply takes longer than a test that leaves it."""


class Ask(Protocol):
    """Sends the question with other values of a `GenerationRequest`; returns the reply."""

    def __call__(self, **values: Any) -> Completion: ...
