"""The config.json of an engine: the checkpoint's it was built from, and how it was built."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from build_engines.checkpoint.forms import CONFIG_NAME
from build_engines.checkpoint.trtllm_config import PretrainedConfig
from catalog import field_problems


class EngineError(ValueError):
    """A checkpoint or engine is not what was planned; the text names it and every reason."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


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
    gather_context_logits: bool = False
    """Whether it returns the logits of prompts."""


class EngineConfig(_Part):
    """An engine's config.json (NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py)."""

    version: str
    pretrained_config: PretrainedConfig
    build_config: BuildConfig


def read_engine(directory: Path) -> EngineConfig:
    """Read an engine's config.json.

    Raises:
        EngineError: there is none, or it lacks a field.
    """
    path = directory / CONFIG_NAME
    try:
        return EngineConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EngineError(
            f"{directory}: not a TensorRT-LLM engine: {error.strerror}: {CONFIG_NAME}"
        ) from error
    except ValidationError as error:
        raise EngineError(
            f"{path}: not that of a TensorRT-LLM engine: {field_problems(error)}"
        ) from error
