"""The parameters that are served, typed; made from the tables by `make generate`."""

from typing import Literal

from pydantic import BaseModel

from shim.parameters.guides import GuidedDecoding, ResponseFormat


class ParameterFields(BaseModel):
    """`None` means not given."""

    max_new_tokens: int | None = None
    max_length: int | None = None
    max_time: float | None = None
    stop_strings: list[str] | None = None
    do_sample: bool | None = None
    num_return_sequences: int | None = None
    bad_words_ids: list[list[int]] | None = None
    suppress_tokens: list[int] | None = None
    sequence_bias: list[tuple[list[int], float]] | None = None
    eos_token_id: list[int] | None = None
    inputs: list[int] | None = None
    input_ids: list[int] | None = None
    attention_mask: list[int] | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    return_full_text: bool | None = None
    skip_special_tokens: bool | None = None
    split_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    stop: list[str] | None = None
    logit_bias: dict[str, float] | None = None
    priority: float | None = None
    response_format: ResponseFormat | None = None
    guided_decoding: GuidedDecoding | None = None
    num_beams: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    min_new_tokens: int | None = None
    min_length: int | None = None
    no_repeat_ngram_size: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None
