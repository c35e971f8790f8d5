"""What TensorRT-LLM says of a checkpoint or an engine, and whether that is what was planned."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from catalog import TENSORRT_LLM_VERSION, EnginePlan, ModelEntry, Shape
from catalog.schema import Architecture, Quantization

CONFIG_NAME = "config.json"
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
    """How weights and KV cache are quantized."""

    quant_algo: str | None = None
    kv_cache_quant_algo: str | None = None


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


def check_checkpoint(directory: Path, model: ModelEntry, plan: EnginePlan) -> PretrainedConfig:
    """Read a checkpoint that an engine is to be built from.

    Raises:
        EngineError: it is of another architecture, precision or number of ranks than planned, or
            a rank's file is missing.
    """
    checkpoint = read_checkpoint(directory)
    mismatches = [
        *_pretrained_mismatches(checkpoint, model, plan),
        *_missing_files(directory, "rank{}.safetensors", plan.tp_size),
    ]
    return _checked(checkpoint, directory, mismatches, "convert again")


def check_engine(directory: Path, model: ModelEntry, plan: EnginePlan) -> EngineConfig:
    """Read an engine that is to be served.

    Raises:
        EngineError: it is not what was planned, or not what this TensorRT-LLM release can load;
            found here instead of by a server that ends while it starts.
    """
    engine = read_engine(directory)
    mismatches = [
        *_mismatch("TensorRT-LLM version", engine.version, TENSORRT_LLM_VERSION),
        *_pretrained_mismatches(engine.pretrained_config, model, plan),
        *_build_mismatches(engine.build_config, plan),
        *_missing_files(directory, "rank{}.engine", plan.tp_size),
    ]
    return _checked(engine, directory, mismatches, "build again, or give the options it was")


def _read(directory: Path, kind: type[Config], what: str) -> Config:
    path = directory / CONFIG_NAME
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EngineError(f"{directory}: not {what}: {error.strerror}: {CONFIG_NAME}") from error
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}"
            for each in error.errors()
        )
        raise EngineError(f"{path}: not that of {what}: {reasons}") from error


def _pretrained_mismatches(
    pretrained: PretrainedConfig, model: ModelEntry, plan: EnginePlan
) -> Iterator[str]:
    expected_architecture = TENSORRT_LLM_ARCHITECTURES[model.architecture]
    yield from _mismatch("architecture", pretrained.architecture, expected_architecture)
    yield from _mismatch("dtype", pretrained.dtype, plan.dtype)
    yield from _mismatch("tp_size", pretrained.mapping.tp_size, plan.tp_size)
    yield from _mismatch("world_size", pretrained.mapping.world_size, plan.tp_size)
    algorithm = QUANT_ALGORITHMS[plan.quantization]
    yield from _mismatch("quantization", pretrained.quantization.quant_algo, algorithm)


def _build_mismatches(build: BuildConfig, plan: EnginePlan) -> Iterator[str]:
    for limit in ("max_batch_size", "max_beam_width", "max_seq_len", "max_num_tokens"):
        yield from _mismatch(limit, getattr(build, limit), getattr(plan, limit))
    # What in-flight batching in Triton needs.
    yield from _mismatch("kv_cache_type", build.kv_cache_type.lower(), "paged")
    plugins = build.plugin_config
    yield from _mismatch("remove_input_padding", plugins.remove_input_padding, True)
    yield from _mismatch("use_paged_context_fmha", plugins.use_paged_context_fmha, True)


def _missing_files(directory: Path, pattern: str, ranks: int) -> Iterator[str]:
    for rank in range(ranks):
        if not (directory / pattern.format(rank)).is_file():
            yield f"{pattern.format(rank)} is missing"


def _mismatch(name: str, found: object, expected: object) -> Iterator[str]:
    if found != expected:
        yield f"{name} is {found}, planned is {expected}"


def _checked(config: Config, directory: Path, mismatches: list[str], remedy: str) -> Config:
    if mismatches:
        raise EngineError(f"{directory}: {'; '.join(mismatches)}; {remedy}")
    return config
