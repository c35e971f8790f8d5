"""What the engine needs to know of a model before it reads the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from build_engines.checkpoint.config_defaults import with_defaults
from build_engines.checkpoint.forms import quantized_form

LLAMA, MISTRAL, STABLELM = ARCHITECTURES = ("llama", "mistral", "stablelm")
"""By transformers' `model_type`."""
# Rotary variants whose frequencies do not depend on the longest sequence of the batch. The others
# (dynamic, longrope) would make one request's output depend on its neighbours.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
# transformers' MistralConfig where the file is silent; null there is no window.
MISTRAL_SLIDING_WINDOW = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A Llama, Mistral or StableLM; of one rank's share, with that rank's heads."""

    architecture: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    norm_epsilon: float
    rope_parameters: Mapping[str, Any]
    """`rope_type`, `rope_theta`, `partial_rotary_factor` and what the type adds."""
    activation: str = "silu"
    """Of the MLP's gate, as transformers names it."""
    sliding_window: int | None = None
    has_query_key_value_bias: bool = False
    has_attention_output_bias: bool = False
    has_mlp_bias: bool = False
    has_head_norms: bool = False
    """Whether every query and key head has a norm of its own."""
    is_parallel: bool = False
    """Whether attention and MLP stand side by side, behind one norm."""
    is_tied: bool = False
    """Whether the embedding may be the output matrix, too."""
    num_ranks: int | None = None
    """How many a converted checkpoint is for; none of a Hugging Face one, which any may share."""

    @property
    def has_layer_norm(self) -> bool:
        """Whether norms are LayerNorm, with biases; otherwise RMSNorm."""
        return self.architecture == STABLELM


def huggingface_model_config(content: Mapping[str, Any]) -> ModelConfig:
    """Return what config.json of a Hugging Face checkpoint describes.

    Raises:
        ValueError: the model is not served, or a field is missing or of the wrong type.
    """
    architecture = content.get("model_type")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture {architecture!r} is not supported;"
            f" supported are {', '.join(ARCHITECTURES)}"
        )
    if what := quantized_form(content):
        raise ValueError(what)
    fields = _Fields({"sliding_window": MISTRAL_SLIDING_WINDOW} | with_defaults(content))
    is_stablelm = architecture == STABLELM
    has_attention_bias = architecture == LLAMA and fields.flag("attention_bias")
    return ModelConfig(
        architecture=architecture,
        hidden_size=fields.size("hidden_size"),
        intermediate_size=fields.size("intermediate_size"),
        num_layers=fields.size("num_hidden_layers"),
        num_heads=fields.size("num_attention_heads"),
        num_kv_heads=fields.size("num_key_value_heads"),
        head_dim=fields.size("head_dim"),
        vocab_size=fields.size("vocab_size"),
        max_position_embeddings=fields.size("max_position_embeddings"),
        norm_epsilon=(
            fields.number("layer_norm_eps", 1e-5)
            if is_stablelm
            else fields.number("rms_norm_eps", 1e-6)
        ),
        rope_parameters=_served_rope(fields.values["rope_parameters"]),
        activation=str(content.get("hidden_act", "silu")),
        sliding_window=fields.optional_size("sliding_window") if architecture == MISTRAL else None,
        has_query_key_value_bias=(
            fields.flag("use_qkv_bias") if is_stablelm else has_attention_bias
        ),
        has_attention_output_bias=has_attention_bias,
        has_mlp_bias=architecture == LLAMA and fields.flag("mlp_bias"),
        has_head_norms=is_stablelm and fields.flag("qk_layernorm"),
        is_parallel=is_stablelm and fields.flag("use_parallel_residual"),
        is_tied=fields.flag("tie_word_embeddings"),
    )


def _served_rope(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    fields, rope_type = _Fields(parameters), parameters["rope_type"]
    for name in ("rope_theta", "partial_rotary_factor"):
        fields.number(name)
    if rope_type not in ROPE_TYPES:
        raise ValueError(
            f"rotary type {rope_type!r} depends on the longest sequence of a batch"
            f" and is not supported; supported are {', '.join(ROPE_TYPES)}"
        )
    return parameters


@dataclass(frozen=True, slots=True)
class _Fields:
    """A JSON object, read by type; a field that is null counts as missing."""

    values: Mapping[str, Any]

    def size(self, name: str) -> int:
        value = self.values.get(name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a positive integer")
        return value

    def optional_size(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.size(name)

    def number(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ValueError(f"{name} is {value!r}; it must be a positive number")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.values.get(name) or False
        if type(value) is not bool:
            raise ValueError(f"{name} is {value!r}; it must be true or false")
        return value
