"""Which values may reach which engine: its known defects, as data.

TensorRT-LLM 1.2.1's Triton backend builds its sampling object with positional arguments, one of
which the constructor has since gained: `len_penalty` lands in prompt_ignore_length,
`early_stopping` in length_penalty, `no_repeat_ngram_size` in early_stopping and
`num_return_sequences` in no_repeat_ngram_size, all without a message
(NVIDIA/TensorRT-LLM, pull requests 13633 and 13692). It reads `runtime_top_p_min` as
`runtime_top_k_min`, which no configuration declares (triton_backend/inflight_batcher_llm/src/
utils.h).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

EngineName = Literal["reference", "executor-1.2.1", "tensorrtllm-1.2.1"]


@dataclass(frozen=True, slots=True)
class FixedValue:
    """What an engine does in any case, and why it cannot be told otherwise."""

    value: float
    reason: str


MISTAKEN = "TensorRT-LLM 1.2.1 mistakes this value for another parameter"
UNREAD = "TensorRT-LLM 1.2.1 looks for this value under a wrong name"

# For each engine, the values that it would misread, with the ones it acts by in any case: those
# may be asked for and are not sent.
FIXED_VALUES: Mapping[EngineName, Mapping[str, FixedValue]] = MappingProxyType(
    {
        "reference": MappingProxyType({}),
        "executor-1.2.1": MappingProxyType({}),  # called with every value's own name
        "tensorrtllm-1.2.1": MappingProxyType(
            {
                "length_penalty": FixedValue(0.0, MISTAKEN),
                "early_stopping": FixedValue(1, MISTAKEN),
                "no_repeat_ngram_size": FixedValue(0, MISTAKEN),
                "top_p_min": FixedValue(1e-6, UNREAD),
            }
        ),
    }
)

# What a beam search acts by where the request does not say: Hugging Face's defaults, by which the
# models' users know them. The engine's own differ, and TensorRT-LLM 1.2.1 cannot be told.
BEAM_DEFAULTS: Mapping[EngineName, Mapping[str, float]] = MappingProxyType(
    {
        "reference": MappingProxyType({"length_penalty": 1.0, "early_stopping": 0}),
        "executor-1.2.1": MappingProxyType({"length_penalty": 1.0, "early_stopping": 0}),
        "tensorrtllm-1.2.1": MappingProxyType({}),
    }
)
