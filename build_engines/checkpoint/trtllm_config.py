"""The config.json of a TensorRT-LLM checkpoint directory.

Fields and defaults as of TensorRT-LLM 1.2 (NVIDIA/TensorRT-LLM,
tensorrt_llm/models/modeling_utils.py, models/llama/config.py, models/gpt/config.py). A field that
is required here although TensorRT-LLM has a default is one whose default is wrong for every model
served: learned positions, an ungated MLP, biases.
"""

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from build_engines.checkpoint.rotary import WIDTH_MULTIPLE
from catalog import field_problems

CONFIG_NAME = "config.json"

Dtype = Literal["float16", "bfloat16", "float32"]

_SAFETENSORS_DTYPES: dict[Dtype, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class TrtllmConfigError(ValueError):
    """A TensorRT-LLM config.json is wrong; the text names the fields."""


class _ClosedTable(BaseModel):
    """A block whose unknown keys are a TypeError in TensorRT-LLM; known ones may be unused here."""

    model_config = ConfigDict(extra="allow", frozen=True)
    unused_keys: ClassVar[frozenset[str]]

    @model_validator(mode="after")
    def _keys_are_known(self) -> Self:
        if unknown := set(self.model_extra or ()) - self.unused_keys:
            raise ValueError(f"unknown keys, which TensorRT-LLM refuses: {sorted(unknown)}")
        return self


class Mapping(_ClosedTable):
    """How the ranks share the model (NVIDIA/TensorRT-LLM, tensorrt_llm/mapping.py)."""

    unused_keys = frozenset(
        {"cp_config", "moe_tp_size", "moe_ep_size", "moe_cluster_size", "attn_tp_size"}
        | {"attn_cp_size", "enable_attention_dp", "enable_lm_head_tp_in_adp"}
    )

    world_size: PositiveInt
    tp_size: PositiveInt
    pp_size: Literal[1] = 1
    cp_size: Literal[1] = 1
    gpus_per_node: PositiveInt = 8

    @model_validator(mode="after")
    def _ranks_are_complete(self) -> Self:
        if self.world_size != self.tp_size:
            raise ValueError(f"world_size {self.world_size} is not tp_size {self.tp_size}")
        return self


class Quantization(_ClosedTable):
    """Form of the weights and the KV cache.

    trtllm-build quantizes plain weights itself for W8A16 and W4A16; FP8 weights and the scales of
    a quantized cache are in the checkpoint.
    """

    unused_keys = frozenset(
        {"group_size", "smoothquant_val", "clamp_val", "use_meta_recipe", "has_zero_point"}
        | {"pre_quant_scale", "exclude_modules", "mamba_ssm_cache_dtype"}
    )

    quant_algo: Literal["W8A16", "W4A16", "FP8"] | None = None
    kv_cache_quant_algo: Literal["FP8", "INT8"] | None = None


class _CommonConfig(BaseModel):
    # Any other key is kept as an attribute by TensorRT-LLM.
    model_config = ConfigDict(extra="allow", frozen=True)

    dtype: Dtype
    logits_dtype: Literal["float16", "float32"] = "float32"
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_size: PositiveInt
    intermediate_size: PositiveInt
    norm_epsilon: PositiveFloat
    max_position_embeddings: PositiveInt
    position_embedding_type: Literal["rope_gpt_neox"]
    qk_layernorm: Literal[False] = False
    use_parallel_embedding: bool = False
    embedding_sharding_dim: Literal[0] = 0
    mapping: Mapping
    quantization: Quantization = Quantization()
    rotary_base: PositiveFloat
    rotary_scaling: dict[str, int | float | str] | None

    @property
    def safetensors_dtype(self) -> str:
        """The type of the weights as safetensors names it."""
        return _SAFETENSORS_DTYPES[self.dtype]

    @model_validator(mode="after")
    def _splits_evenly(self) -> Self:
        tp = self.mapping.tp_size
        for field in ("num_attention_heads", "intermediate_size"):
            if getattr(self, field) % tp:
                raise ValueError(f"tp_size {tp} does not divide {field} {getattr(self, field)}")
        kv_heads = self.num_key_value_heads
        if kv_heads % tp and tp % kv_heads:
            raise ValueError(
                f"tp_size {tp} neither divides num_key_value_heads {kv_heads} nor is a multiple"
            )
        return self


class LlamaConfig(_CommonConfig):
    """For LLaMAForCausalLM, which is Mistral's class too."""

    architecture: Literal["LlamaForCausalLM", "MistralForCausalLM"]
    hidden_act: Literal["silu"]
    attn_bias: Literal[False] = False
    mlp_bias: Literal[False] = False
    residual_mlp: Literal[False] = False
    disable_weight_only_quant_plugin: bool = False
    remove_duplicated_kv_heads: Literal[False] = False


class GptConfig(_CommonConfig):
    """For GPTForCausalLM with a gated MLP, layer norms with bias, and rotary positions."""

    architecture: Literal["GPTForCausalLM"]
    hidden_act: Literal["swiglu"]
    bias: Literal[False]
    gpt_variant: Literal["gpt2"] = "gpt2"
    q_scaling: Annotated[float, Field(ge=1, le=1)] = 1.0
    embedding_scale: None = None
    apply_query_key_layer_scaling: Literal[False] = False
    inner_layernorm: Literal[False] = False
    norm_before_bmm1: Literal[False] = False
    rotary_pct: Annotated[float, Field(gt=0, le=1)]
    rotary_embedding_dim: Annotated[int, Field(gt=0, multiple_of=WIDTH_MULTIPLE)]

    @model_validator(mode="after")
    def _rotary_widths_agree(self) -> Self:
        if int(self.head_size * self.rotary_pct) != self.rotary_embedding_dim:
            raise ValueError(
                f"rotary_pct {self.rotary_pct} of head_size {self.head_size} is not "
                f"rotary_embedding_dim {self.rotary_embedding_dim}"
            )
        return self


TrtllmConfig = Annotated[LlamaConfig | GptConfig, Field(discriminator="architecture")]

_ADAPTER: TypeAdapter[LlamaConfig | GptConfig] = TypeAdapter(TrtllmConfig)


def parse_trtllm_config(content: dict[str, Any]) -> LlamaConfig | GptConfig:
    """Check the fields of a config.json.

    Raises:
        TrtllmConfigError: a field is missing, or of a value that TensorRT-LLM refuses or that
            describes another model than the ones written here.
    """
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        raise TrtllmConfigError(field_problems(error, skipped=1)) from error


def read_trtllm_config(directory: Path) -> LlamaConfig | GptConfig:
    """Read config.json of a TensorRT-LLM checkpoint directory.

    Raises:
        TrtllmConfigError: it is missing, no JSON, or wrong.
    """
    path = directory / CONFIG_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrtllmConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise TrtllmConfigError(f"{path}: no JSON: {error}") from error
    try:
        return parse_trtllm_config(content)
    except TrtllmConfigError as error:
        raise TrtllmConfigError(f"{path}: {error}") from error
