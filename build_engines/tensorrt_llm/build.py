"""From a TensorRT-LLM checkpoint to an engine, and from a Hugging Face one to FP8."""

from collections.abc import Callable
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineConfig, EngineError
from build_engines.checkpoint.huggingface_config import read_huggingface_config
from build_engines.checkpoint.partial_directory import partial_directory
from build_engines.checkpoint.trtllm_config import TrtllmConfig
from build_engines.plan.capacity import make_plan
from build_engines.tensorrt_llm.command import (
    MODELOPT_EXPORT,
    TRTLLM_BUILD,
    modelopt_export_command,
    trtllm_build_command,
)
from build_engines.tensorrt_llm.engine_checks import check_checkpoint, check_engine
from build_engines.tensorrt_llm.preflight import check_machine, host_memory_warning
from build_engines.tensorrt_llm.tool import run_tool
from build_engines.verify.directory import verify
from catalog import EnginePlan, ModelEntry

Report = Callable[[str], None]
"""Takes the lines that a person waiting wants to see."""


def build_engine(
    model: ModelEntry, engine: EnginePlan, checkpoint: Path, output: Path, report: Report
) -> EngineConfig:
    """Run `trtllm-build` on a converted checkpoint.

    The directory appears under its name when the engine is complete; the log stays beside it, as
    `<output>.log`, whatever happens.

    Raises:
        PlanError: the engine would not fit.
        EngineError: the checkpoint is damaged or not the planned one, `output` exists, or the
            engine that came out is not the planned one.
        PreflightError: this machine cannot build it.
        ConversionError: `output` cannot be written.
        ToolError: `trtllm-build` failed.
    """
    checkpoint, output = checkpoint.resolve(), output.resolve()
    _require_new(output)
    shape = check_checkpoint(checkpoint, model, engine).resize(model.shape)
    plan = make_plan(model.model_copy(update={"shape": shape}), engine)
    workers = check_machine(plan, TRTLLM_BUILD)
    if warning := host_memory_warning(plan, workers):
        report(f"warning: {warning}")
    report(f"verifying {checkpoint}")
    if not (verification := verify(checkpoint)).ok:
        raise EngineError(verification.render())
    with partial_directory(output, plan.engine_bytes) as partial:
        command = trtllm_build_command(model, engine, checkpoint, partial, workers)
        run_tool(command, log_path(output), partial, report)
        return check_engine(partial, model, engine)


def export_fp8(
    model: ModelEntry,
    engine: EnginePlan,
    source: Path,
    output: Path,
    report: Report,
    script: Path = MODELOPT_EXPORT,
) -> TrtllmConfig:
    """Calibrate a Hugging Face checkpoint with NVIDIA ModelOpt and export it for trtllm-build.

    Raises:
        PlanError: the plan is not for FP8, or cannot be.
        CheckpointError: `source` is no Hugging Face checkpoint.
        EngineError: `output` exists, or what was exported is not what was planned.
        PreflightError: this machine cannot do it; the whole model must fit its GPUs.
        ConversionError: `output` cannot be written.
        ToolError: ModelOpt's script failed.
    """
    plan = make_plan(model, engine)
    source, output = source.resolve(), output.resolve()
    _require_new(output)
    rope_theta = read_huggingface_config(source).rope_theta
    check_machine(plan, str(script))
    with partial_directory(output, plan.checkpoint_bytes) as partial:
        command = modelopt_export_command(engine, source, partial, script)
        run_tool(command, log_path(output), partial, report)
        exported = check_checkpoint(partial, model, engine)
        # A checkpoint saved by transformers 5 keeps the base where TensorRT-LLM does not look,
        # and is then exported with the default, without a word.
        if exported.rotary_base != rope_theta:
            raise EngineError(
                f"{output}: was exported with rotary_base {exported.rotary_base:g}, but {source} "
                f"has {rope_theta:g}; give its config.json a field rope_theta of that value"
            )
        return exported


def log_path(output: Path) -> Path:
    """Where the log of the run that writes `output` is kept."""
    return output.with_name(f"{output.name}.log")


def _require_new(output: Path) -> None:
    if output.exists():
        raise EngineError(f"{output} exists; remove it, or give another directory")
