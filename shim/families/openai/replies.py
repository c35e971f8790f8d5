"""Replies in the shapes of OpenAI's API: objects, and streams of server-sent events."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from aeolus_client import Completion, FinishReason, ServiceError, TextChunk
from catalog import ModelEntry
from shim.errors.outcomes import status_and_text
from shim.families.openai.errors import openai_error
from shim.families.openai.logprobs import (
    chat_logprobs,
    completion_logprobs,
    joined,
    prompt_logprobs,
)
from shim.families.openai.plans import Plan
from shim.families.replies import data_event
from shim.generation.sequences import IndexedChunk

STARTED = int(time.time())


def model_object(entry: ModelEntry) -> dict[str, Any]:
    """Return the description of a model; `max_model_len` is vLLM's name of the context."""
    return {
        "id": entry.name,
        "object": "model",
        "created": STARTED,
        "owned_by": "aeolus",
        "max_model_len": entry.predict.max_length,
    }


class Reply(ABC):
    """The body of one reply, plain or streamed."""

    @abstractmethod
    def content(self, completions: list[Completion], plan: Plan) -> dict[str, Any]:
        """Return the body of a plain reply."""

    @abstractmethod
    def events(
        self,
        first: IndexedChunk,
        rest: AsyncGenerator[IndexedChunk, None],
        plan: Plan,
        include_usage: bool,
    ) -> AsyncGenerator[str, None]:
        """Yield the events of a streamed reply."""


class ChoicesReply(Reply):
    """One reply of choices: its id and model, and the shape of its choices."""

    id_prefix: str
    object_name: str
    chunk_object_name: str

    def __init__(self, model: str, request_id: str):
        self._request_id = request_id
        self._id = f"{self.id_prefix}-{request_id}"
        self._model = model
        self._created = int(time.time())

    @abstractmethod
    def whole(self, text: str) -> dict[str, Any]:
        """Return the fields of a choice that hold its whole text."""

    @abstractmethod
    def delta(self, text: str) -> dict[str, Any]:
        """Return the fields of a streamed choice that hold a piece of its text, or none."""

    @abstractmethod
    def logprobs(self, reply: Completion | TextChunk, offset: int) -> dict[str, Any] | None:
        """Return the log probabilities of a reply or of its piece at character `offset`."""

    @abstractmethod
    def beginning(self, prefix: str) -> dict[str, Any] | None:
        """Return the fields of what a streamed choice begins with."""

    def content(self, completions: list[Completion], plan: Plan) -> dict[str, Any]:
        """Return the body of a plain reply."""
        completions = [plan.shown(each) for each in completions]
        choices = []
        for index, each in enumerate(completions):
            prefix = plan.prefix(index, each.prompt)
            logprobs = self.logprobs(each, len(prefix))
            if each.prompt is not None and plan.wants_logprobs:
                logprobs = joined(prompt_logprobs(each.prompt), logprobs)
            choices.append(
                self._choice(index, self.whole(prefix + each.text), each.finish_reason, logprobs)
            )
        counts = {index: _counts(each) for index, each in enumerate(completions)}
        return self._object(self.object_name, choices) | {"usage": _usage(counts, plan.n)}

    async def events(
        self,
        first: IndexedChunk,
        rest: AsyncGenerator[IndexedChunk, None],
        plan: Plan,
        include_usage: bool,
    ) -> AsyncGenerator[str, None]:
        """Yield the events of a streamed reply."""
        usage = {"usage": None} if include_usage else {}
        counts: dict[int, tuple[int, int]] = {}
        offsets: Counter[int] = Counter()

        def event(
            index: int,
            fields: dict[str, Any],
            reason: FinishReason | None = None,
            logprobs: dict[str, Any] | None = None,
        ) -> str:
            choices = [self._choice(index, fields, reason, logprobs)]
            return data_event(self._object(self.chunk_object_name, choices) | usage)

        for index in range(len(plan.requests)):
            fields = None if plan.asks_for_prompts else self.beginning(plan.prefix(index))
            if fields is not None:
                yield event(index, fields)
        try:
            async for index, whole_chunk in all_chunks(first, rest):
                chunk = plan.shown(whole_chunk)
                if chunk.prompt is not None:
                    prefix = plan.prefix(index, chunk.prompt)
                    logprobs = prompt_logprobs(chunk.prompt) if plan.wants_logprobs else None
                    yield event(index, self.delta(prefix), logprobs=logprobs)
                    offsets[index] = len(prefix)
                counts[index] = _counts(chunk)
                if chunk.text or chunk.log_probs:
                    logprobs = self.logprobs(chunk, offsets[index])
                    yield event(index, self.delta(chunk.text), logprobs=logprobs)
                    offsets[index] += len(chunk.text)
                if chunk.finish_reason is not None:
                    yield event(index, self.delta(""), chunk.finish_reason)
        except ServiceError as error:
            yield data_event(openai_error(*status_and_text(error, self._request_id)))
            return
        if include_usage:
            total = {"usage": _usage(counts, plan.n)}
            yield data_event(self._object(self.chunk_object_name, []) | total)
        yield "data: [DONE]\n\n"

    def _object(self, name: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": name,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _choice(
        self,
        index: int,
        fields: dict[str, Any],
        reason: FinishReason | None,
        logprobs: dict[str, Any] | None,
    ) -> dict[str, Any]:
        return {"index": index, **fields, "logprobs": logprobs, "finish_reason": reason}


class ChatReply(ChoicesReply):
    """A reply to a conversation."""

    id_prefix = "chatcmpl"
    object_name = "chat.completion"
    chunk_object_name = "chat.completion.chunk"

    def whole(self, text: str) -> dict[str, Any]:
        """Return a message."""
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def delta(self, text: str) -> dict[str, Any]:
        """Return a piece of a message."""
        return {"delta": {"content": text} if text else {}}

    def logprobs(self, reply: Completion | TextChunk, offset: int) -> dict[str, Any] | None:  # noqa: ARG002
        """Return those of its tokens."""
        return chat_logprobs(reply)

    def beginning(self, prefix: str) -> dict[str, Any]:
        """Return the message's role."""
        return {"delta": {"role": "assistant", "content": prefix}}


class CompletionReply(ChoicesReply):
    """A continued text."""

    id_prefix = "cmpl"
    object_name = "text_completion"
    chunk_object_name = "text_completion"

    def whole(self, text: str) -> dict[str, Any]:
        """Return a text."""
        return {"text": text}

    def delta(self, text: str) -> dict[str, Any]:
        """Return a piece of a text."""
        return {"text": text}

    def logprobs(self, reply: Completion | TextChunk, offset: int) -> dict[str, Any] | None:
        """Return those of its tokens, with where each begins."""
        return completion_logprobs(reply, offset)

    def beginning(self, prefix: str) -> dict[str, Any] | None:
        """Return the prompt, if it is to be repeated."""
        return {"text": prefix} if prefix else None


async def all_chunks(
    first: IndexedChunk, rest: AsyncGenerator[IndexedChunk, None]
) -> AsyncGenerator[IndexedChunk, None]:
    """Yield the first chunk, which was awaited before the reply began, and the others."""
    yield first
    async for each in rest:
        yield each


def _counts(reply: Completion | TextChunk) -> tuple[int, int]:
    return reply.prompt_tokens, reply.completion_tokens


def _usage(counts: dict[int, tuple[int, int]], n: int) -> dict[str, int]:
    """Sum the tokens of all sequences; the `n` of a prompt share its tokens."""
    prompt_tokens = sum(prompt for index, (prompt, _) in counts.items() if index % n == 0)
    completion_tokens = sum(completion for _, completion in counts.values())
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
