"""The command lines of NVIDIA's tools that turn a checkpoint into an engine."""

from pathlib import Path

from build_engines.checkpoint.trtllm_config import TENSORRT_LLM_ARCHITECTURES
from catalog import EnginePlan, ModelEntry

TRTLLM_BUILD = "trtllm-build"
# trtllm-build turns reduce_fusion off for every other class (NVIDIA/TensorRT-LLM,
# tensorrt_llm/commands/build.py); of this list only the first is one of ours.
REDUCE_FUSION_ARCHITECTURES = {"LlamaForCausalLM"}


def trtllm_build_command(
    model: ModelEntry, plan: EnginePlan, checkpoint: Path, output: Path, workers: int
) -> list[str]:
    """Compose the `trtllm-build` call for a plan.

    Flags and their exclusions: NVIDIA/TensorRT-LLM, tensorrt_llm/commands/build.py and
    tensorrt_llm/plugin/plugin.py.

    Args:
        model: the model.
        plan: limits, precision and number of ranks.
        checkpoint: TensorRT-LLM checkpoint directory.
        output: engine directory. The timing cache goes there too; by default it would be written
            to the current directory, which may be read-only.
        workers: ranks built at the same time, each on a GPU of its own.
    """
    flags = {
        "checkpoint_dir": str(checkpoint),
        "output_dir": str(output),
        "output_timing_cache": str(output / "timing.cache"),
        "workers": str(workers),
        "max_batch_size": str(plan.max_batch_size),
        "max_beam_width": str(plan.max_beam_width),
        "max_input_len": str(plan.max_input_len),
        "max_seq_len": str(plan.max_seq_len),
        "max_num_tokens": str(plan.max_num_tokens),
        # What in-flight batching in Triton relies on, whatever the release's defaults are.
        "kv_cache_type": "paged",
        "gpt_attention_plugin": "auto",
        "remove_input_padding": "enable",
        "context_fmha": "enable",
        "use_paged_context_fmha": "enable",
        "multiple_profiles": "enable",
        **_precision_flags(plan),
        **_reduction_flags(model, plan),
    }
    command = [part for name, value in flags.items() for part in (f"--{name}", value)]
    switches = ["--gather_context_logits"] if plan.gather_context_logits else []
    return [TRTLLM_BUILD, *command, *switches]


def _precision_flags(plan: EnginePlan) -> dict[str, str]:
    if plan.quantization == "fp8":
        # TensorRT's own FP8 matrix multiplications are faster than the plugin's.
        context = "enable" if plan.kv_cache_dtype == "fp8" else "disable"
        return {"gemm_plugin": "disable", "use_fp8_context_fmha": context}
    if plan.quantization == "none":
        return {"gemm_plugin": "auto"}
    # The fused MLP knows 16-bit and FP8 weights only.
    return {"gemm_plugin": "auto", "use_fused_mlp": "disable"}


def _reduction_flags(model: ModelEntry, plan: EnginePlan) -> dict[str, str]:
    """Fuse the all-reduce after a layer with the norm before the next, where that exists."""
    architecture = TENSORRT_LLM_ARCHITECTURES[model.architecture]
    if plan.tp_size == 1 or architecture not in REDUCE_FUSION_ARCHITECTURES:
        return {}
    if plan.quantization == "fp8":
        return {"reduce_fusion": "enable", "user_buffer": "enable"}
    return {"reduce_fusion": "enable"}
