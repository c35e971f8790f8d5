"""The parameters of a generation, by their Hugging Face names; made by `make generate`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class GenerateParameters(TypedDict, total=False):
    """What may be given to `generate`, `stream` and `chat`; what is left out the server decides.

    The server checks types and ranges: docs/generate-parameters.md.
    """

    max_new_tokens: int
    """Counts only new tokens; what does not fit beside the prompt is cut."""
    max_length: int
    """Counts prompt and new tokens; resolved where the prompt is tokenized. The lower of it and
    max_new_tokens holds.
    """
    max_time: float
    """Seconds after which the engine is stopped and what it has streamed is returned, with finish
    reason length; at least one token is.
    """
    stop_strings: str | Sequence[str]
    """The reply ends with the one that comes first, of at most 64. Hugging Face's also keeps what
    the last token holds beyond it. Without num_beams, not a beam search.
    """
    do_sample: bool
    """False is top_k 1. True sends temperature, top_k, top_p and seed, for the engine is greedy
    unless it is told all of them.
    """
    bad_words_ids: Sequence[Sequence[int]]
    """Sequences of tokens that do not come; the end of sequence by itself cannot be one. At most
    1024 of several tokens.
    """
    suppress_tokens: int | Sequence[int]
    """Tokens that do not come, the end of sequence included."""
    sequence_bias: Sequence[Sequence[Any]]
    """Added to the logits, as `[[[5], -2.5], [[7], 1.0]]`; single tokens only. Without num_beams,
    not a beam search.
    """
    eos_token_id: int | Sequence[int]
    """The tokens that end the reply instead of the checkpoint's; they do not show in it; at most
    64. -1 is none.
    """
    max_tokens: int
    """Another name of max_new_tokens."""
    skip_special_tokens: bool
    """Whether `</s>` and the like are left out of the text."""
    split_special_tokens: bool
    """Whether `</s>` and the like in the prompt are text. What is left open: in messages they are,
    unless the deployment lets them be control tokens; in a prompt they are control tokens.
    """
    add_generation_prompt: bool
    """Whether the heading of a reply follows the messages; it does unless the last one is
    continued.
    """
    continue_final_message: bool
    """Whether the reply continues the last of the messages; of a plain reply that repeats the
    prompt, it is part.
    """
    stop: str | Sequence[str]
    """The reply ends before the one that comes first, of at most 64. Without num_beams, not a beam
    search.
    """
    logit_bias: Mapping[str, float]
    """Added to the logits, by token id, from -100 to 100. Without num_beams, not a beam search."""
    priority: float
    """Of the requests that wait, the higher is served first; equal ones as they came. What runs is
    not interrupted. An API key may limit it (priority_limits).
    """
    response_format: Mapping[str, Any]
    """OpenAI's: type is text, json_object, or json_schema with the schema in json_schema.schema.
    The reply matches it unless its limit of tokens or a stop string ends it. One beam.
    """
    guided_decoding: Mapping[str, Any]
    """An object of TensorRT-LLM's guide type (json, json_schema, regex, ebnf_grammar) and guide:
    the schema, the regular expression, or the grammar with a rule root; json has none. As
    response_format otherwise.
    """
    num_beams: int
    """Beam search; neither sampled nor streamed. The engine's widest search is decided when it is
    built.
    """
    temperature: float
    """0 is greedy, where Hugging Face raises an error; below 1e-6 nothing else is taken."""
    top_k: int
    """0 is no limit. Of equal logits at the limit, exactly top_k tokens stay."""
    top_p: float
    """0 is greedy."""
    min_p: float
    """Least probability of a token, as a share of the likeliest one's; after top_k and top_p."""
    seed: int
    """A request that samples without one gets a random one."""
    repetition_penalty: float
    """Counts the prompt's tokens too, as in Hugging Face. In a beam search the engine applies it to
    logits, Hugging Face to log probabilities.
    """
    presence_penalty: float
    """Subtracted once from the logit of each token that occurs, the prompt's included, after the
    temperature.
    """
    frequency_penalty: float
    """Subtracted from a token's logit each time it occurs, the prompt included, after the
    temperature.
    """
    min_new_tokens: int
    """No end of sequence before so many new tokens. The engine holds back one such token for a
    time: where a reply may end at several, eos_token_id must name one, or the minimum be the
    limit of new tokens, too.
    """
    min_length: int
    """No end of sequence before prompt and reply together have so many tokens. As min_new_tokens,
    also where a reply may end at several tokens.
    """
    no_repeat_ngram_size: int
    """No sequence of so many tokens comes twice in prompt and reply."""
    length_penalty: float
    """Exponent of the length by which a beam's score is divided."""
    early_stopping: bool | Literal["never"]
    """false, true or "never"."""
