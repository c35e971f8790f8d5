"""From a Hugging Face checkpoint to one of calibrated FP8 or INT4 weights, by NVIDIA ModelOpt."""

import sys
from collections.abc import Callable
from pathlib import Path

from build_engines.checkpoint.convert import check_sources, existing_conversion, plan_conversion
from build_engines.checkpoint.forms import CONFIG_NAME
from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.huggingface_weights import open_weights
from build_engines.checkpoint.manifest import Conversion, Manifest, describe_source, digest
from build_engines.checkpoint.partial_directory import partial_directory
from build_engines.checkpoint.rank_files import require_finite
from build_engines.checkpoint.tokenizer_files import VOCABULARIES
from build_engines.checkpoint.trtllm_config import TrtllmConfig
from build_engines.plan.capacity import make_plan
from build_engines.quantize.packages import OVERLAY, environment
from build_engines.tensorrt_llm.engine_checks import check_checkpoint
from build_engines.tensorrt_llm.tool import ToolError, log_path, run_tool
from build_engines.verify.directory import verify
from catalog import EnginePlan, ModelEntry
from catalog.schema import Quantization

CALIBRATION = Path(__file__).with_name("calibration.txt")
"""Text of several kinds, written for this project."""
ROW_TOKENS = 512
ROWS: dict[Quantization, int] = {"fp8": 512, "int4_awq": 32}
"""Most rows of text; AWQ runs each of them many times (as NVIDIA's script limits both)."""

# What ModelOpt decides by itself: how the ranks share the embedding, and the words it has for it.
_OWN_FIELDS = {"mapping", "quantization", "logits_dtype", "use_parallel_embedding"}


def quantize(
    model: ModelEntry,
    plan: EnginePlan,
    source: Path,
    output: Path,
    report: Callable[[str], None],
    *,
    calibration: Path = CALIBRATION,
    overlay: Path = OVERLAY,
) -> Manifest:
    """Write `output`: config.json, rank<r>.safetensors for every rank, manifest.json.

    The directory appears under its name when it is complete; the log stays beside it, as
    `<output>.log`. If it is already there, made from the same inputs, nothing is done. ModelOpt
    loads the whole model, onto the GPUs where there are any.

    Args:
        model: gives the architecture that the checkpoint must have.
        plan: number of ranks, types, quantization.
        source: directory of a Hugging Face checkpoint with its tokenizer.
        output: directory to make.
        report: takes the lines that a person waiting wants to see.
        calibration: text in UTF-8, of the kind that the model will see.
        overlay: where ModelOpt is installed, if not in this Python.

    Raises:
        PlanError: the plan cannot be.
        CheckpointError: `source` is damaged, not the model's or without a tokenizer, or the
            calibration text cannot be read.
        ConversionError: `output` exists with other content or cannot be written.
        ModelOptError: ModelOpt is not there.
        ToolError: it failed, or wrote something else than was planned.
    """
    source, output, calibration = source.resolve(), output.resolve(), calibration.resolve()
    conversion = Conversion(
        model=model.name,
        architecture=model.architecture,
        tp_size=plan.tp_size,
        dtype=plan.dtype,
        quantization=plan.quantization,
        use_parallel_embedding=True,
        kv_cache_dtype=plan.kv_cache_dtype,
        calibration=_digest_of(calibration),
    )
    plain, layout = plan_conversion(source, conversion.model_copy(update={"quantization": "none"}))
    shape = plain.resize(model.shape)
    capacity = make_plan(model.model_copy(update={"shape": shape}), plan)
    weights = open_weights(source)
    check_sources(source, weights, layout)
    for name, tensor in weights.tensors.items():
        require_finite(tensor.read(), name)
    if not any((source / name).is_file() for name in VOCABULARIES):
        raise CheckpointError(f"{source}: has no tokenizer, which calibration needs")
    origin = describe_source(source, [source / CONFIG_NAME, *weights.files])
    if output.exists():
        return existing_conversion(output, origin, conversion)
    variables = environment(overlay)
    options = {
        "source": str(source),
        "output": "",
        "dtype": plan.dtype,
        "tp-size": str(plan.tp_size),
        "quantization": plan.quantization,
        "kv-cache-dtype": plan.kv_cache_dtype,
        "calibration": str(calibration),
        "rows": str(ROWS[plan.quantization]),
        "tokens": str(ROW_TOKENS),
    }
    with partial_directory(output, capacity.checkpoint_bytes) as partial:
        options["output"] = str(partial)
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, "-m", "build_engines.quantize.export", *flags]
        run_tool(command, log_path(output), partial, report, variables)
        _require_planned(partial, plain, check_checkpoint(partial, model, plan))
        manifest = Manifest.of(origin, conversion, partial)
        manifest.write(partial)
    return manifest


def _digest_of(calibration: Path) -> str:
    try:
        return digest(calibration).sha256
    except OSError as error:
        raise CheckpointError(f"{calibration}: calibration text: {error.strerror}") from error


def _require_planned(directory: Path, plain: TrtllmConfig, exported: TrtllmConfig) -> None:
    """Compare with what our own conversion would write: ModelOpt falls back to defaults silently.

    Raises:
        ToolError: a field differs, or the weights are not usable.
    """
    if differing := differing_fields(exported, plain):
        raise ToolError(f"ModelOpt wrote another model than the source's: {'; '.join(differing)}")
    if not (report := verify(directory)).ok:
        raise ToolError(f"ModelOpt's checkpoint is not usable: {'; '.join(report.problems)}")


def differing_fields(exported: TrtllmConfig, plain: TrtllmConfig) -> list[str]:
    """Name what ModelOpt has written otherwise than our own conversion of the source does."""
    found = exported.model_dump()
    return [
        f"{name} is {found.get(name)}, not {value}"
        for name, value in plain.model_dump(exclude=_OWN_FIELDS).items()
        if not _same(found.get(name), value)
    ]


def _same(found: object, expected: object) -> bool:
    """Whether two fields say the same; the type of a rotary scaling has two names."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return all(found.get(name) == value for name, value in expected.items() if name != "type")
    return found == expected
