"""From a TensorRT-LLM checkpoint to an engine."""

from collections.abc import Callable
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineConfig, EngineError
from build_engines.checkpoint.partial_directory import partial_directory
from build_engines.plan.capacity import make_plan
from build_engines.tensorrt_llm.command import TRTLLM_BUILD, trtllm_build_command
from build_engines.tensorrt_llm.engine_checks import check_checkpoint, check_engine
from build_engines.tensorrt_llm.preflight import check_machine, host_memory_warning
from build_engines.tensorrt_llm.tool import log_path, run_tool
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


def _require_new(output: Path) -> None:
    if output.exists():
        raise EngineError(f"{output} exists; remove it, or give another directory")
