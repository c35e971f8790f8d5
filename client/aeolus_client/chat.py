"""A conversation that fits the model's context."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Self

from aeolus_client.client import AsyncClient
from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import Completion, Message, TextChunk
from aeolus_client.triton import gather

NOTHING = TextChunk("", 0, 0, None)
REPLY_TOKENS = 256
TEMPLATE_TOKENS = 32
"""More than any chat template of ours puts around a message."""


class AsyncChat:
    """Keeps the turns of a conversation and sends those that leave room for a reply.

    The service counts the tokens: each reply says what the turns before it took. Only when the
    next prompt might be too long is it counted before it is sent; then the oldest turns are not
    sent any more, a question and its reply at a time. The system message always is.

    >>> import asyncio
    >>> async def main():
    ...     async with AsyncClient("http://127.0.0.1:8000") as client:
    ...         chat = AsyncChat(client, system="Answer in one sentence.", max_tokens=20)
    ...         await chat.send("What is a zephyr?")
    ...         await chat.send("And a mistral?")
    ...         print(len(chat.messages), chat.tokens_used > 40, chat.context_length)
    >>> asyncio.run(main())
    5 True 4096
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        model: str | None = None,
        system: str | None = None,
        context_length: int | None = None,
        reply_tokens: int = REPLY_TOKENS,
        **parameters: Any,
    ):
        """Begin a conversation; nothing is sent.

        Args:
            client: sends it, and is not closed by it.
            model: instead of the client's.
            system: system message.
            context_length: most tokens of prompt and reply; what the server says if `None`.
            reply_tokens: room that the turns leave for a reply.
            parameters: of every reply, by the names of `GenerateParameters`.
        """
        self.client = client
        self.model = model
        self.system = system
        self.parameters: dict[str, Any] = dict(parameters)
        self.context_length = context_length
        self.reply_tokens = reply_tokens
        self.turns: list[Message] = []
        """Questions and replies, all of them."""
        self.first_sent = 0
        """Index of the first turn that is still sent."""
        self.tokens_used = 0
        """What the last prompt and its reply took; 0 where that is not known."""
        self._system_used = system

    @property
    def messages(self) -> list[Message]:
        """The system message, if there is one, and all turns."""
        return self._with_system(self.turns)

    async def send(self, text: str, *, timeout: float | None = None) -> Completion:
        """Say something; returns the whole reply."""
        return await gather(self.stream(text, timeout=timeout))

    async def stream(
        self, text: str, *, timeout: float | None = None
    ) -> AsyncGenerator[TextChunk, None]:
        """Say something; yields the reply as it comes.

        What came of a reply that was left early stays in the conversation. Where nothing came,
        or the request failed, the conversation is what it was before.
        """
        self.turns.append({"role": "user", "content": text})
        reply = ""
        last = NOTHING
        try:
            sent = await self._fitting(text)
            async with aclosing(
                self.client.stream(sent, model=self.model, timeout=timeout, **self.parameters)
            ) as chunks:
                async for last in chunks:
                    reply += last.text
                    yield last
        finally:
            if reply:
                self.turns.append({"role": "assistant", "content": reply})
                used = last.prompt_tokens + last.completion_tokens
                self.tokens_used = used if last.finish_reason is not None else 0
                self._system_used = self.system
            else:
                self.turns.pop()

    def take_back(self) -> str | None:
        """Remove the last question and its reply; returns the question, to be said again."""
        if len(self.turns) < 2:
            return None
        question = self.turns[-2]["content"]
        del self.turns[-2:]
        self.first_sent = min(self.first_sent, max(0, len(self.turns) - 2))
        self.tokens_used = 0
        return question

    def clear(self) -> None:
        """Forget all turns; the system message stays."""
        self.turns.clear()
        self.first_sent = self.tokens_used = 0

    def to_json(self) -> str:
        """Return the conversation as JSON: `model`, `system`, `parameters`, `turns`."""
        content = {
            "model": self.model,
            "system": self.system,
            "parameters": self.parameters,
            "turns": self.turns,
        }
        return json.dumps(content, ensure_ascii=False, indent=2)

    def to_markdown(self) -> str:
        """Return the conversation for people to read."""
        return "".join(f"## {each['role']}\n\n{each['content']}\n\n" for each in self.messages)

    @classmethod
    def from_json(cls, client: AsyncClient, text: str) -> Self:
        """Go on with a conversation that `to_json` wrote.

        Raises:
            ValueError: `text` is not one.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or not _are_messages(content.get("turns")):
            raise ValueError("not a conversation: expected a JSON object with turns")
        chat = cls(
            client,
            model=content.get("model"),
            system=content.get("system"),
            **content.get("parameters", {}),
        )
        chat.turns = content["turns"]
        return chat

    async def _fitting(self, text: str) -> list[Message]:
        """Return the messages to send; moves `first_sent` where all are too many."""
        if self.context_length is None:
            self.context_length = await self.client.context_length(self.model)
        if self.context_length is None or self._surely_fit(text):
            return self._sent(self.first_sent)
        # The first of the exchanges from which on all fit; the last is sent in any case.
        candidates = range(self.first_sent, len(self.turns), 2)
        low, high = 0, len(candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if await self._fits(candidates[middle]):
                high = middle
            else:
                low = middle + 1
        self.first_sent = candidates[low]
        return self._sent(self.first_sent)

    def _surely_fit(self, text: str) -> bool:
        """Whether no counting is needed: a token is at least a byte of text."""
        added = len(text.encode()) + TEMPLATE_TOKENS
        if self._system_used != self.system or len(self.turns) == 1:
            added += len((self.system or "").encode())
        is_known = self.tokens_used > 0 or len(self.turns) == 1
        return is_known and self.tokens_used + added <= self._room

    async def _fits(self, first: int) -> bool:
        try:
            tokens = await self.client.count_tokens(self._sent(first), model=self.model)
        except InvalidRequestError:
            return False  # not even one more token; what else may be wrong the request will say
        return tokens <= self._room

    @property
    def _room(self) -> int:
        """Most tokens of a prompt."""
        assert self.context_length is not None
        limit = self.parameters.get("max_tokens") or self.parameters.get("max_new_tokens")
        wanted = min(limit, self.reply_tokens) if isinstance(limit, int) else self.reply_tokens
        return self.context_length - min(wanted, self.context_length // 2)

    def _sent(self, first: int) -> list[Message]:
        return self._with_system(self.turns[first:])

    def _with_system(self, turns: list[Message]) -> list[Message]:
        head: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return head + turns


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, Mapping)
        and isinstance(each.get("role"), str)
        and isinstance(each.get("content"), str)
        for each in value
    )
