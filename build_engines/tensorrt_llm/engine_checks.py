"""Whether a checkpoint or an engine is what was planned."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from build_engines.checkpoint.engine_config import (
    BuildConfig,
    EngineConfig,
    EngineError,
    read_engine,
)
from build_engines.checkpoint.quantization import CACHE_ALGORITHMS, QUANT_ALGORITHMS
from build_engines.checkpoint.trtllm_config import (
    TENSORRT_LLM_ARCHITECTURES,
    PretrainedConfig,
    TrtllmConfig,
    TrtllmConfigError,
    read_trtllm_config,
)
from catalog import TENSORRT_LLM_VERSION, EnginePlan, ModelEntry

Config = TypeVar("Config", TrtllmConfig, EngineConfig)


def check_checkpoint(directory: Path, model: ModelEntry, plan: EnginePlan) -> TrtllmConfig:
    """Read a checkpoint that an engine is to be built from.

    Raises:
        EngineError: it is not a checkpoint, of another architecture, precision or number of ranks
            than planned, or a rank's file is missing.
    """
    try:
        checkpoint = read_trtllm_config(directory)
    except TrtllmConfigError as error:
        raise EngineError(f"{directory}: not a TensorRT-LLM checkpoint: {error}") from error
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
    cache = CACHE_ALGORITHMS[plan.kv_cache_dtype]
    yield from _mismatch("KV cache", pretrained.quantization.kv_cache_quant_algo, cache)


def _build_mismatches(build: BuildConfig, plan: EnginePlan) -> Iterator[str]:
    for name in (
        *("max_batch_size", "max_beam_width", "max_seq_len", "max_num_tokens"),
        "gather_context_logits",
    ):
        yield from _mismatch(name, getattr(build, name), getattr(plan, name))
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
