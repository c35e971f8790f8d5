"""A request to the ensemble, and what the engine is given for it."""

from dataclasses import dataclass, field

from aeolus_contract.request_parameters import RequestParameters
from guided_decoding.guide import Guide
from preprocessing.bias import Float32Array
from preprocessing.sampling import Values
from preprocessing.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest:
    """What a client asks of the ensemble; `None` where it sent nothing."""

    max_tokens: int
    text_input: str | None = None
    messages: str | None = None
    input_ids: list[int] | None = None
    max_length: int | None = None
    stop_words: list[str] = field(default_factory=list)
    bad_words: list[str] = field(default_factory=list)
    bad_words_ids: str | None = None
    embedding_bias_words: list[str] = field(default_factory=list)
    embedding_bias_weights: list[float] = field(default_factory=list)
    embedding_bias_ids: list[int] = field(default_factory=list)
    embedding_bias_id_weights: list[float] = field(default_factory=list)
    end_id: int | None = None
    pad_id: int | None = None
    return_log_probs: bool = False
    stream: bool = False
    sampling: Values = field(default_factory=dict)
    guide: Guide | None = None
    parameters: RequestParameters = field(default_factory=RequestParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInputs:
    """What the engine is given."""

    input_ids: list[int]
    request_output_len: int
    end_id: int
    pad_id: int
    stop_words: Words
    stop_words_texts: list[str]
    """What the client's own among them are made from, empty ones left out."""
    bad_words: Words
    embedding_bias: Float32Array | None
    sampling: Values
    guide: Guide | None = None
