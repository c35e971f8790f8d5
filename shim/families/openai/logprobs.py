"""Log probabilities of tokens in the shapes of OpenAI's API."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from aeolus_client import Completion, PromptLogProbs, TextChunk, TopTokens

BYTES = "bytes:\\x"
"""How the text of a token begins that is a part of a character."""


def chat_logprobs(reply: Completion | TextChunk) -> dict[str, Any] | None:
    """Return the `logprobs` of a message or of a piece of it; nothing where there are none."""
    if not reply.log_probs:
        return None
    top = reply.top or [[]] * len(reply.log_probs)
    content = [
        _chat_token(text, value)
        | {"top_logprobs": [_chat_token(other, of_other) for other, of_other in others]}
        for text, value, others in zip(reply.token_texts, reply.log_probs, top, strict=True)
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(reply: Completion | TextChunk, offset: int) -> dict[str, Any] | None:
    """Return the `logprobs` of a text or of a piece of it, which begins at `offset`."""
    if not reply.log_probs:
        return None
    return _completion_tokens(reply.token_texts, reply.log_probs, reply.top, offset)


def prompt_logprobs(prompt: PromptLogProbs) -> dict[str, Any]:
    """Return the `logprobs` of a prompt that is repeated."""
    return _completion_tokens(prompt.texts, prompt.log_probs, prompt.top, 0)


def joined(prompt: dict[str, Any], reply: dict[str, Any] | None) -> dict[str, Any]:
    """Return the `logprobs` of a prompt and the reply after it."""
    if reply is None:
        return prompt
    return {
        name: None if values is None else values + reply[name] for name, values in prompt.items()
    }


def _chat_token(text: str, log_prob: float) -> dict[str, Any]:
    return {"token": text, "logprob": log_prob, "bytes": [*_bytes_of(text)]}


def _bytes_of(text: str) -> bytes:
    if text.startswith(BYTES):
        return bytes.fromhex(text.removeprefix(BYTES).replace("\\x", ""))
    return text.encode()


def _completion_tokens(
    texts: list[str], log_probs: Sequence[float | None], top: list[TopTokens], offset: int
) -> dict[str, Any]:
    lengths = [len(text) for text in texts]
    return {
        "tokens": texts,
        "token_logprobs": [*log_probs],
        "top_logprobs": [*map(_by_text, texts, log_probs, top)] if top else None,
        "text_offset": [*accumulate(lengths[:-1], initial=offset)],
    }


def _by_text(text: str, log_prob: float | None, top: TopTokens) -> dict[str, float] | None:
    """Return the likeliest tokens of a position, and the one that is there."""
    if log_prob is None:
        return None
    found: dict[str, float] = {}
    for other, value in [*top, (text, log_prob)]:
        found.setdefault(other, value)
    return found
