"""The `tensorrt_llm` step of the ensemble, configured for TensorRT-LLM."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig

from aeolus_contract.parameters import EngineName, engine_parameters
from aeolus_contract.steps import (
    ENGINE_INPUTS_OF_OTHER_CLIENTS,
    OUR_ENGINE_INPUTS,
    OUR_ENGINE_OUTPUTS,
)
from build_engines.checkpoint.engine_config import BuildConfig
from build_engines.plan.memory import KV_CACHE_FRACTION

BACKEND = "tensorrtllm"
ENGINE_NAME: EngineName = "tensorrtllm-1.2.1"
EXECUTOR = "executor"
"""The step's parameter `runtime` for the executor."""
UNDECLARED_INPUTS = (
    *(engine.tensor for row, engine in engine_parameters() if ENGINE_NAME in row.fixed),
    *ENGINE_INPUTS_OF_OTHER_CLIENTS,
    *OUR_ENGINE_INPUTS,
)
"""Inputs that the 1.2.1 backend gets wrong or does not know; undeclared ones cannot be sent."""
QUEUE_PARAMETER = "max_queue_size"
CANCELLATION_PARAMETER = "cancellation_check_period_ms"
ROUND_PARAMETER = "response_round_ms"
EXECUTOR_OPTIONS = (
    "max_tokens_in_paged_kv_cache",
    "max_attention_window_size",
    "sink_token_length",
    "kv_cache_host_memory_bytes",
    "kv_cache_onboard_blocks",
    "decoding_mode",
    "gpu_device_ids",
    "gpu_weights_percent",
    "executor_worker_path",
    "recv_poll_period_ms",
    "iter_stats_max_iterations",
    "multi_block_mode",
    "enable_context_fmha_fp32_acc",
    "cuda_graph_mode",
    "cuda_graph_cache_size",
    "lora_cache_optimal_adapter_size",
    "lora_cache_max_adapter_size",
    "lora_cache_gpu_memory_fraction",
    "lora_cache_host_memory_bytes",
    "lora_prefetch_dir",
)
"""What a deployment may set beside what `assemble` sets; empty, the executor's default holds."""


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """Where the deployed engine and its tokenizer are."""

    engine: Path
    tokenizer: Path
    tokenizer_info: Path | None = None
    """The tokenizer as xgrammar needs it; without it no request can be guided."""


def cpp_step(
    committed: ModelConfig, files: EngineFiles, limits: BuildConfig, sliding_window: int | None
) -> ModelConfig:
    """Return the committed configuration for NVIDIA's C++ backend: backend, inputs, parameters.

    Args:
        committed: the configuration for the reference engine; tensors, queue limit and
            cancellation period are taken from it.
        files: absolute paths.
        limits: the engine's.
        sliding_window: positions that the model attends to, where it does not attend to all.
    """
    config = ModelConfig()
    config.CopyFrom(committed)
    config.backend = BACKEND
    _remove(config.input, UNDECLARED_INPUTS)
    _remove(config.output, OUR_ENGINE_OUTPUTS)
    # The backend reads this policy a second time, as the limit of the executor's own queue.
    queue = config.dynamic_batching.default_queue_policy
    queue.max_queue_size = int(committed.parameters[QUEUE_PARAMETER].string_value)
    parameters = {
        **_shared_parameters(committed, files, limits, sliding_window),
        "gpt_model_type": "inflight_fused_batching",
        "tokenizer_dir": str(files.tokenizer),
    }
    _set_parameters(config, parameters)
    return config


def executor_step(
    committed: ModelConfig, files: EngineFiles, limits: BuildConfig, sliding_window: int | None
) -> ModelConfig:
    """Return the committed configuration for TensorRT-LLM's executor: only parameters differ.

    Arguments: see `cpp_step`.
    """
    config = ModelConfig()
    config.CopyFrom(committed)
    parameters = {
        **dict.fromkeys(EXECUTOR_OPTIONS, ""),
        **_shared_parameters(committed, files, limits, sliding_window),
        "runtime": EXECUTOR,
        "max_num_sequences": str(limits.max_batch_size),
        "max_num_tokens": str(limits.max_num_tokens),
    }
    for name in (QUEUE_PARAMETER, ROUND_PARAMETER):
        parameters[name] = committed.parameters[name].string_value
    _set_parameters(config, parameters)
    return config


def _set_parameters(config: ModelConfig, parameters: dict[str, str]) -> None:
    config.parameters.clear()
    for name, value in parameters.items():
        config.parameters[name].string_value = value


def drop_undeclared_tensors(ensemble: ModelConfig) -> None:
    """Disconnect what the engine step does not declare from the steps of an ensemble, in place."""
    steps = {step.model_name: step for step in ensemble.ensemble_scheduling.step}
    sources = {
        steps["tensorrt_llm"].input_map.pop(name)
        for name in UNDECLARED_INPUTS
        if name in steps["tensorrt_llm"].input_map
    }
    outputs = steps["preprocessing"].output_map
    for name in [name for name, tensor in outputs.items() if tensor in sources]:
        del outputs[name]
    sent = steps["tensorrt_llm"].output_map
    missing = {sent.pop(name) for name in OUR_ENGINE_OUTPUTS if name in sent}
    inputs = steps["postprocessing"].input_map
    for name in [name for name, tensor in inputs.items() if tensor in missing]:
        del inputs[name]
    _remove(ensemble.output, missing)


def _shared_parameters(
    committed: ModelConfig, files: EngineFiles, limits: BuildConfig, sliding_window: int | None
) -> dict[str, str]:
    """Name what neither runtime leaves to TensorRT-LLM's defaults.

    Source: NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/model_state.cc and
    model_instance_state.cc.
    """
    longest_prompt = limits.max_seq_len - 1
    parameters = {
        "gpt_model_path": str(files.engine),
        "batch_scheduler_policy": "guaranteed_no_evict",
        "kv_cache_free_gpu_mem_fraction": str(KV_CACHE_FRACTION),
        "enable_kv_cache_reuse": "true",
        # A prompt that one step's tokens do not hold is refused, unless it may be read in chunks.
        "enable_chunked_context": "true" if longest_prompt > limits.max_num_tokens else "false",
        "max_beam_width": str(limits.max_beam_width),
        # By default log-probabilities are among the top-k tokens: with greedy ones all are 0.
        "normalize_log_probs": "false",
        "exclude_input_in_output": committed.parameters["exclude_input_in_output"].string_value,
        CANCELLATION_PARAMETER: committed.parameters[CANCELLATION_PARAMETER].string_value,
        # Without these two keys the C++ backend does not load; empty, guided decoding is off.
        "xgrammar_tokenizer_info_path": str(files.tokenizer_info or ""),
        "guided_decoding_backend": "xgrammar" if files.tokenizer_info else "",
    }
    if sliding_window is not None:
        # The engine attends to everything: the checkpoint format knows no window.
        parameters["max_attention_window_size"] = str(sliding_window)
    return parameters


def _remove(tensors: Any, names: Collection[str]) -> None:
    kept = [tensor for tensor in tensors if tensor.name not in names]
    del tensors[:]
    tensors.extend(kept)
