"""Log probabilities of tokens in the shapes of OpenAI's API.

The engine returns those of the tokens that it chose, and of no others.
"""

from itertools import accumulate
from typing import Any

from aeolus_client import Completion, TextChunk


def chat_logprobs(reply: Completion | TextChunk) -> dict[str, Any] | None:
    """Return the `logprobs` of a message or of a piece of it; nothing where there are none."""
    if not reply.log_probs:
        return None
    content = [
        {"token": text, "logprob": value, "bytes": [*text.encode()], "top_logprobs": []}
        for text, value in zip(reply.token_texts, reply.log_probs, strict=True)
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(reply: Completion | TextChunk, offset: int) -> dict[str, Any] | None:
    """Return the `logprobs` of a text or of a piece of it, which begins at `offset`."""
    if not reply.log_probs:
        return None
    lengths = [len(text) for text in reply.token_texts]
    return {
        "tokens": reply.token_texts,
        "token_logprobs": reply.log_probs,
        "top_logprobs": None,
        "text_offset": [*accumulate(lengths[:-1], initial=offset)],
    }
