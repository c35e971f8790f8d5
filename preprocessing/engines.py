"""Which values may reach which engine: its known defects, as data.

TensorRT-LLM 1.2.1's Triton backend builds its sampling object with positional arguments, one of
which the constructor has since gained: `len_penalty` lands in prompt_ignore_length,
`early_stopping` in length_penalty, `no_repeat_ngram_size` in early_stopping and
`num_return_sequences` in no_repeat_ngram_size, all without a message
(NVIDIA/TensorRT-LLM, pull requests 13633 and 13692).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

EngineName = Literal["reference", "tensorrtllm-1.2.1"]

# For each engine, the values that it would misread, with the ones it acts by in any case: those
# may be asked for and are not sent. Length penalty 0 and early stopping 1 are its defaults.
FIXED_VALUES: Mapping[EngineName, Mapping[str, float]] = MappingProxyType(
    {
        "reference": MappingProxyType({}),
        "tensorrtllm-1.2.1": MappingProxyType(
            {"length_penalty": 0.0, "early_stopping": 1, "no_repeat_ngram_size": 0}
        ),
    }
)

# What a beam search acts by where the request does not say: Hugging Face's defaults, by which the
# models' users know them. The engine's own differ, and TensorRT-LLM 1.2.1 can not be told.
BEAM_DEFAULTS: Mapping[EngineName, Mapping[str, float]] = MappingProxyType(
    {
        "reference": MappingProxyType({"length_penalty": 1.0, "early_stopping": 0}),
        "tensorrtllm-1.2.1": MappingProxyType({}),
    }
)
