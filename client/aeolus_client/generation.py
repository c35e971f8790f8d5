"""A generation request and its reply, in the vocabulary of the ensemble's tensors."""

import uuid
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from aeolus_client.sampling_values import SamplingValues

FinishReason = Literal["stop", "length"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest(SamplingValues):
    """One prompt or conversation, and how to continue it; `None` means the server's default.

    Exactly one of `text_input` (continued as it stands), `messages` (put through the checkpoint's
    chat template) and `input_ids` is given. Greedy unless `top_k` or `top_p` is given.
    """

    max_tokens: int
    text_input: str | None = None
    messages: list[Message] | None = None
    input_ids: list[int] | None = None
    max_length: int | None = None
    """Most tokens of prompt and reply together."""
    stop: list[str] | None = None
    """Texts that end the reply and are cut from it."""
    include_stop_str_in_output: bool = False
    """Whether the one that came is left at the end."""
    end_ids: list[int] | None = None
    """Token ids that end the reply, instead of the checkpoint's; empty for none."""
    bad_words: list[str] | None = None
    bad_words_ids: list[list[int]] | None = None
    embedding_bias: dict[int, float] | None = None
    """What is added to the logits of these tokens."""
    guided_decoding_guide_type: str | None = None
    """What the reply must match: json, json_schema, regex or ebnf_grammar."""
    guided_decoding_guide: str | None = None
    """The schema, the regular expression, or the grammar; type json has none."""
    stream: bool = False
    return_log_probs: bool = False
    return_output_ids: bool = False
    split_special_tokens: bool | None = None
    """Whether what spells a control token in the prompt is text: by default only in messages."""
    add_generation_prompt: bool | None = None
    """Whether the heading of a reply follows the messages: by default unless one is continued."""
    continue_final_message: bool | None = None
    """Whether the reply continues the last message."""
    exclude_input_in_output: bool = True
    skip_special_tokens: bool = True
    priority: float | None = None
    """From 0 to 1, 0.5 by default: of the requests that wait, the higher is served first."""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


TopTokens = list[tuple[str, float]]
"""The likeliest tokens at one position, the likeliest first: text by itself, log probability."""


@dataclass(frozen=True, slots=True)
class PromptLogProbs:
    """What the model thinks of a prompt, one entry a token."""

    texts: list[str]
    """What each token adds to the prompt's text."""
    log_probs: list[float | None]
    """`None` of the first token, which follows nothing."""
    top: list[TopTokens]
    """Empty where none were asked for, and of the first token."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole reply; of a beam search, the best."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason
    output_ids: list[int] = field(default_factory=list)
    """The reply's tokens, if asked for."""
    log_probs: list[float] = field(default_factory=list)
    """The log probability of each of the reply's tokens, if asked for."""
    token_texts: list[str] = field(default_factory=list)
    """What each of them adds to the text, where the reply was streamed."""
    top: list[TopTokens] = field(default_factory=list)
    """The likeliest tokens in the place of each of them, if asked for by `top_logprobs`."""
    prompt: PromptLogProbs | None = None
    """If asked for by `prompt_logprobs`."""
    other_beams: list["Completion"] = field(default_factory=list)
    """What a beam search found beside it, the better ones first."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of a reply: the text since the chunk before, and the counts so far."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason | None
    """Set on the last chunk only."""
    output_ids: list[int] = field(default_factory=list)
    """The chunk's tokens, if asked for; those of a stop string are among them."""
    log_probs: list[float] = field(default_factory=list)
    """The log probability of each of the chunk's tokens, if asked for."""
    token_texts: list[str] = field(default_factory=list)
    """What each token with a log probability adds to the text of a stream.

    A token that ends in the middle of a character adds nothing, and the next one both.
    """
    top: list[TopTokens] = field(default_factory=list)
    """The likeliest tokens in the place of each of them, if asked for."""
    prompt: PromptLogProbs | None = None
    """On the first chunk, if asked for."""
    other_beams: list[Completion] = field(default_factory=list)
    """Of a beam search, whose text comes in one chunk."""
