"""The step's parameters as the executor's configuration.

Names and meanings are those of NVIDIA's backend (NVIDIA/TensorRT-LLM,
triton_backend/inflight_batcher_llm/src/model_instance_state.cc). An empty parameter leaves a value
to the executor's default.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Parameters = Mapping[str, str]


class SettingsError(ValueError):
    """A parameter of the step cannot be used; the text names it."""


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _integers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


@dataclass(frozen=True, slots=True)
class _Setting:
    """Which argument of a part of the configuration a parameter is."""

    argument: str
    read: Callable[[str], Any]


# By class of the bindings: each parameter of the step that is one of its constructor's arguments.
ARGUMENTS: dict[str, dict[str, _Setting]] = {
    "ExecutorConfig": {
        "max_beam_width": _Setting("max_beam_width", int),
        "max_num_sequences": _Setting("max_batch_size", int),
        "max_num_tokens": _Setting("max_num_tokens", int),
        "enable_chunked_context": _Setting("enable_chunked_context", _boolean),
        "normalize_log_probs": _Setting("normalize_log_probs", _boolean),
        "max_queue_size": _Setting("max_queue_size", int),
        "gpu_weights_percent": _Setting("gpu_weights_percent", float),
        "iter_stats_max_iterations": _Setting("iter_stats_max_iterations", int),
        "recv_poll_period_ms": _Setting("recv_poll_period_ms", int),
    },
    "KvCacheConfig": {
        "enable_kv_cache_reuse": _Setting("enable_block_reuse", _boolean),
        "max_tokens_in_paged_kv_cache": _Setting("max_tokens", int),
        "max_attention_window_size": _Setting("max_attention_window", _integers),
        "sink_token_length": _Setting("sink_token_length", int),
        "kv_cache_free_gpu_mem_fraction": _Setting("free_gpu_memory_fraction", float),
        "kv_cache_host_memory_bytes": _Setting("host_cache_size", int),
        "kv_cache_onboard_blocks": _Setting("onboard_blocks", _boolean),
    },
    "PeftCacheConfig": {
        "lora_cache_optimal_adapter_size": _Setting("optimal_adapter_size", int),
        "lora_cache_max_adapter_size": _Setting("max_adapter_size", int),
        "lora_cache_gpu_memory_fraction": _Setting("device_cache_percent", float),
        "lora_cache_host_memory_bytes": _Setting("host_cache_size", int),
        "lora_prefetch_dir": _Setting("lora_prefetch_dir", str),
    },
    "ExtendedRuntimePerfKnobConfig": {
        "multi_block_mode": _Setting("multi_block_mode", _boolean),
        "enable_context_fmha_fp32_acc": _Setting("enable_context_fmha_fp32_acc", _boolean),
    },
}
# Properties without a constructor argument.
PERFORMANCE_PROPERTIES = {
    "cuda_graph_mode": _Setting("cuda_graph_mode", _boolean),
    "cuda_graph_cache_size": _Setting("cuda_graph_cache_size", int),
}
SCHEDULER_POLICIES = {
    "guaranteed_no_evict": "GUARANTEED_NO_EVICT",
    "max_utilization": "MAX_UTILIZATION",
}
DECODING_MODES = {
    "auto": "Auto",
    "top_k": "TopK",
    "top_p": "TopP",
    "top_k_top_p": "TopKTopP",
    "beam_search": "BeamSearch",
}
GUIDED_DECODING_BACKENDS = {"xgrammar": "XGRAMMAR"}
TOKENIZER_INFO = ("encoded_vocab", "tokenizer_str", "stop_token_ids")
DEFAULT_WORKER = "/opt/tritonserver/backends/tensorrtllm/trtllmExecutorWorker"
"""What the executor spawns as further ranks in orchestrator mode."""


def executor_config(bindings: Any, parameters: Parameters) -> Any:
    """Return an `ExecutorConfig`.

    Raises:
        SettingsError: a parameter is not what it should be.
    """
    arguments = _arguments("ExecutorConfig", parameters)
    arguments["scheduler_config"] = bindings.SchedulerConfig(
        capacity_scheduler_policy=getattr(
            bindings.CapacitySchedulerPolicy,
            _choice(parameters, "batch_scheduler_policy", SCHEDULER_POLICIES)
            or "GUARANTEED_NO_EVICT",
        )
    )
    arguments["kv_cache_config"] = bindings.KvCacheConfig(**_arguments("KvCacheConfig", parameters))
    arguments["peft_cache_config"] = bindings.PeftCacheConfig(
        **_arguments("PeftCacheConfig", parameters)
    )
    arguments["extended_runtime_perf_knob_config"] = _performance(bindings, parameters)
    mode = _choice(parameters, "decoding_mode", DECODING_MODES)
    if mode is not None:
        arguments["decoding_config"] = bindings.DecodingConfig(
            decoding_mode=getattr(bindings.DecodingMode, mode)()
        )
    guided = _guided(bindings, parameters)
    if guided is not None:
        arguments["guided_decoding_config"] = guided
    parallel = _parallel(bindings, parameters)
    if parallel is not None:
        arguments["parallel_config"] = parallel
    return bindings.ExecutorConfig(**arguments)


def _arguments(part: str, parameters: Parameters) -> dict[str, Any]:
    return _read(ARGUMENTS[part], parameters)


def _read(settings: Mapping[str, _Setting], parameters: Parameters) -> dict[str, Any]:
    values = {}
    for name, setting in settings.items():
        text = parameters.get(name, "")
        if not text:
            continue
        try:
            values[setting.argument] = setting.read(text)
        except (ValueError, KeyError) as error:
            raise SettingsError(f"parameter {name} is {text!r}, which cannot be read") from error
    return values


def _choice(parameters: Parameters, name: str, choices: Mapping[str, str]) -> str | None:
    text = parameters.get(name, "")
    if not text:
        return None
    if text not in choices:
        raise SettingsError(f"parameter {name} is {text!r}; use one of {', '.join(choices)}")
    return choices[text]


def _performance(bindings: Any, parameters: Parameters) -> Any:
    knobs = bindings.ExtendedRuntimePerfKnobConfig(
        **_arguments("ExtendedRuntimePerfKnobConfig", parameters)
    )
    for name, value in _read(PERFORMANCE_PROPERTIES, parameters).items():
        setattr(knobs, name, value)
    return knobs


def _guided(bindings: Any, parameters: Parameters) -> Any:
    """Read the tokenizer's description as NVIDIA's C++ backend does; without it nothing is guided.

    It is what NVIDIA's examples/generate_xgrammar_tokenizer_info.py writes.
    """
    name = _choice(parameters, "guided_decoding_backend", GUIDED_DECODING_BACKENDS)
    path = parameters.get("xgrammar_tokenizer_info_path", "")
    if name is None or not path:
        return None
    try:
        info = json.loads(Path(path).read_text(encoding="utf-8"))
        vocabulary = {each: info[each] for each in TOKENIZER_INFO}
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(
            f"parameter xgrammar_tokenizer_info_path is {path!r}, which cannot be read: {error!r}"
        ) from error
    backends = bindings.GuidedDecodingConfig.GuidedDecodingBackend
    return bindings.GuidedDecodingConfig(backend=getattr(backends, name), **vocabulary)


def _parallel(bindings: Any, parameters: Parameters) -> Any:
    arguments: dict[str, Any] = _read(
        {"gpu_device_ids": _Setting("device_ids", _integers)}, parameters
    )
    if os.environ.get("TRTLLM_ORCHESTRATOR", "0") != "0":
        arguments["communication_mode"] = bindings.CommunicationMode.ORCHESTRATOR
        arguments["orchestrator_config"] = bindings.OrchestratorConfig(
            is_orchestrator=True,
            worker_executable_path=parameters.get("executor_worker_path") or DEFAULT_WORKER,
        )
    return bindings.ParallelConfig(**arguments) if arguments else None
