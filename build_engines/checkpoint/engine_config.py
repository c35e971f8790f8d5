"""The config.json of an engine, and as much of a checkpoint's as an engine is built by.

Other fields are not looked at: TensorRT-LLM adds its own. `trtllm_config` reads a checkpoint's in
full.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from build_engines.checkpoint.trtllm_config import CONFIG_NAME
from catalog import Shape, field_problems
from catalog.schema import Architecture, Quantization

TENSORRT_LLM_ARCHITECTURES: dict[Architecture, str] = {
    "LlamaForCausalLM": "LlamaForCausalLM",
    "MistralForCausalLM": "MistralForCausalLM",
    "StableLmForCausalLM": "GPTForCausalLM",
}
"""TensorRT-LLM's class for each architecture of the catalog."""
QUANT_ALGORITHMS: dict[Quantization, str | None] = {
    "none": None,
    "int8": "W8A16",
    "int4": "W4A16",
    "fp8": "FP8",
}
"""TensorRT-LLM's name for each quantization of the catalog."""


class EngineError(ValueError):
    """A checkpoint or engine is not what was planned; the text names it and every reason."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Config = TypeVar("Config", bound=_Part)


class RankMapping(_Part):
    """How the model is spread over ranks."""

    world_size: PositiveInt = 1
    tp_size: PositiveInt = 1


class QuantizationConfig(_Part):
    """How weights are quantized."""

    quant_algo: str | None = None


class PretrainedConfig(_Part):
    """A checkpoint's config.json, and the `pretrained_config` of the engine made from it."""

    architecture: str
    dtype: str
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_size: PositiveInt
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    rotary_base: float = 10000.0
    mapping: RankMapping = RankMapping()
    quantization: QuantizationConfig = QuantizationConfig()

    def resize(self, shape: Shape) -> Shape:
        """Return a shape with these dimensions; rotary factor and window are kept."""
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


class PluginConfig(_Part):
    """What the engine was compiled with."""

    remove_input_padding: bool
    use_paged_context_fmha: bool


class BuildConfig(_Part):
    """The engine's limits."""

    max_batch_size: PositiveInt
    max_beam_width: PositiveInt
    max_seq_len: PositiveInt
    max_num_tokens: PositiveInt
    kv_cache_type: str
    """`paged` in either case: it is written by name or by value, as the version has it."""
    plugin_config: PluginConfig


class EngineConfig(_Part):
    """An engine's config.json (NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py)."""

    version: str
    pretrained_config: PretrainedConfig
    build_config: BuildConfig


def read_checkpoint(directory: Path) -> PretrainedConfig:
    """Read a TensorRT-LLM checkpoint's config.json.

    Raises:
        EngineError: there is none, or it lacks a field.
    """
    return _read(directory, PretrainedConfig, "a TensorRT-LLM checkpoint")


def read_engine(directory: Path) -> EngineConfig:
    """Read an engine's config.json.

    Raises:
        EngineError: there is none, or it lacks a field.
    """
    return _read(directory, EngineConfig, "a TensorRT-LLM engine")


def _read(directory: Path, kind: type[Config], what: str) -> Config:
    path = directory / CONFIG_NAME
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EngineError(f"{directory}: not {what}: {error.strerror}: {CONFIG_NAME}") from error
    except ValidationError as error:
        raise EngineError(f"{path}: not that of {what}: {field_problems(error)}") from error
