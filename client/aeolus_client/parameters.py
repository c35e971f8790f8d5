"""The parameters of a generation, by their Hugging Face names."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict


class GenerateParameters(TypedDict, total=False):
    """What may be given to `generate`, `stream` and `chat`; what is left out the server decides.

    The server checks types and ranges: docs/generate-parameters.md says what each does.
    """

    max_tokens: int
    max_new_tokens: int
    """The same as `max_tokens`."""
    max_length: int
    """Most tokens of prompt and reply together."""
    min_new_tokens: int
    min_length: int
    """Fewest tokens of prompt and reply together."""
    max_time: float
    """Seconds after which the reply ends as it is."""
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | Literal["never"]
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    stop: str | Sequence[str]
    stop_strings: str | Sequence[str]
    """The same as `stop`."""
    eos_token_id: int | Sequence[int]
    bad_words_ids: Sequence[Sequence[int]]
    suppress_tokens: Sequence[int]
    sequence_bias: Sequence[Any] | dict[Any, float]
    logit_bias: dict[str, float]
    skip_special_tokens: bool
    split_special_tokens: bool
    add_generation_prompt: bool
    continue_final_message: bool
    response_format: dict[str, Any]
    """OpenAI's: what the reply must match."""
    guided_decoding: dict[str, Any]
    """`type` json, json_schema, regex or ebnf_grammar, and `guide`."""
