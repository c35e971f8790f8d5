"""The config.json of a TensorRT-LLM checkpoint: the one reader of what NVIDIA and we write.

NVIDIA's writers are ModelOpt, alone or through TensorRT-LLM, and trtllm-build, which copies it into
the engine's. Fields and defaults as of TensorRT-LLM 1.2 (NVIDIA/TensorRT-LLM,
tensorrt_llm/models/modeling_utils.py, models/llama/config.py, models/gpt/config.py). A field that
is required here although TensorRT-LLM has a default is one whose default is wrong for every model
served: learned positions, an ungated MLP, biases.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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

from build_engines.checkpoint.forms import CONFIG_NAME
from build_engines.checkpoint.quantization import ClosedTable, Quantization
from build_engines.checkpoint.rotary import WIDTH_MULTIPLE
from catalog import Shape, field_problems
from catalog.schema import Architecture

TENSORRT_LLM_ARCHITECTURES: dict[Architecture, str] = {
    "LlamaForCausalLM": "LlamaForCausalLM",
    "MistralForCausalLM": "MistralForCausalLM",
    "StableLmForCausalLM": "GPTForCausalLM",
}
"""TensorRT-LLM's class for each architecture of the catalog."""

Dtype = Literal["float16", "bfloat16", "float32"]

_SAFETENSORS_DTYPES: dict[Dtype, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class TrtllmConfigError(ValueError):
    """A TensorRT-LLM config.json is wrong; the text names the fields."""


class Mapping(ClosedTable):
    """How the ranks share the model (NVIDIA/TensorRT-LLM, tensorrt_llm/mapping.py)."""

    unused_keys = frozenset(
        {"cp_config", "moe_tp_size", "moe_ep_size", "moe_cluster_size", "attn_tp_size"}
        | {"attn_cp_size", "enable_attention_dp", "enable_lm_head_tp_in_adp"}
    )

    world_size: PositiveInt = 1
    tp_size: PositiveInt = 1
    pp_size: PositiveInt = 1
    cp_size: PositiveInt = 1
    gpus_per_node: PositiveInt = 8


class Producer(BaseModel):
    """The tool that wrote the checkpoint, where it says so."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str


class PretrainedConfig(BaseModel):
    """What any checkpoint's config.json has, and so that of any engine."""

    # Any other key is kept as an attribute by TensorRT-LLM.
    model_config = ConfigDict(extra="allow", frozen=True)

    architecture: str
    dtype: Dtype
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_size: PositiveInt
    intermediate_size: PositiveInt
    max_position_embeddings: PositiveInt
    mapping: Mapping = Mapping()
    quantization: Quantization = Quantization()
    producer: Annotated[Producer | None, Field(exclude=True)] = None

    @property
    def safetensors_dtype(self) -> str:
        """The type of the weights as safetensors names it."""
        return _SAFETENSORS_DTYPES[self.dtype]

    @property
    def unknown_keys(self) -> list[str]:
        """Keys that TensorRT-LLM refuses, by block."""
        blocks = {"mapping": self.mapping, "quantization": self.quantization}
        return [f"{name}.{key}" for name, block in blocks.items() for key in block.unknown_keys]

    def resize(self, shape: Shape) -> Shape:
        """Return a shape with these dimensions; the sliding window, which is not here, is kept."""
        return shape.model_copy(
            update={
                "hidden_size": self.hidden_size,
                "num_hidden_layers": self.num_hidden_layers,
                "num_attention_heads": self.num_attention_heads,
                "num_key_value_heads": self.num_key_value_heads,
                "head_dim": self.head_size,
                "intermediate_size": self.intermediate_size,
                "vocab_size": self.vocab_size,
                "max_position_embeddings": self.max_position_embeddings,
            }
        )


class _DecoderConfig(PretrainedConfig):
    """A decoder with rotary positions, as the models served are."""

    logits_dtype: Literal["float16", "float32"] = "float32"
    norm_epsilon: PositiveFloat
    position_embedding_type: Literal["rope_gpt_neox"]
    qk_layernorm: Literal[False] = False
    use_parallel_embedding: bool = False
    embedding_sharding_dim: Literal[0] = 0
    rotary_base: PositiveFloat
    rotary_scaling: dict[str, int | float | str] | None = None
    # ModelOpt's own word, which TensorRT-LLM does not read.
    lm_head_bias: Annotated[Literal[False], Field(exclude=True)] = False

    @model_validator(mode="after")
    def _is_split_over_tensor_parallel_ranks(self) -> Self:
        tp = self.mapping.tp_size
        if self.mapping.world_size != tp:
            raise ValueError(
                f"world_size {self.mapping.world_size} is not tp_size {tp}; only tensor parallel "
                "checkpoints can be read"
            )
        for field in ("num_attention_heads", "intermediate_size"):
            if getattr(self, field) % tp:
                raise ValueError(f"tp_size {tp} does not divide {field} {getattr(self, field)}")
        kv_heads = self.num_key_value_heads
        if kv_heads % tp and tp % kv_heads:
            raise ValueError(
                f"tp_size {tp} neither divides num_key_value_heads {kv_heads} nor is a multiple"
            )
        return self

    @model_validator(mode="after")
    def _quantization_is_known(self) -> Self:
        self.quantization.require_known()
        return self


class LlamaConfig(_DecoderConfig):
    """For LLaMAForCausalLM, which is Mistral's class too."""

    architecture: Literal["LlamaForCausalLM", "MistralForCausalLM"]
    hidden_act: Literal["silu"]
    attn_bias: Literal[False] = False
    mlp_bias: Literal[False] = False
    residual_mlp: Literal[False] = False
    # ModelOpt's words for the two above and for what the class always does.
    bias: Annotated[Literal[False], Field(exclude=True)] = False
    rotary_pct: Annotated[float, Field(ge=1, le=1, exclude=True)] = 1.0
    disable_weight_only_quant_plugin: bool = False
    remove_duplicated_kv_heads: Literal[False] = False


class GptConfig(_DecoderConfig):
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


TrtllmConfig = LlamaConfig | GptConfig

_ADAPTER: TypeAdapter[TrtllmConfig] = TypeAdapter(
    Annotated[TrtllmConfig, Field(discriminator="architecture")]
)


def parse_trtllm_config(content: dict[str, Any]) -> TrtllmConfig:
    """Check the fields of a config.json.

    Raises:
        TrtllmConfigError: a field is missing, or of a value that TensorRT-LLM refuses or that
            describes another model than the ones written here.
    """
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        raise TrtllmConfigError(field_problems(error, skipped=1)) from error


def read_trtllm_config(directory: Path) -> TrtllmConfig:
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
        raise TrtllmConfigError(f"{path}: not JSON: {error}") from error
    try:
        return parse_trtllm_config(content)
    except TrtllmConfigError as error:
        raise TrtllmConfigError(f"{path}: {error}") from error
