"""`python -m build_engines`: each command calls one function."""

import argparse
import shutil
import sys
from pathlib import Path

from build_engines.checkpoint.catalog_check import catalog_differences
from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.engine_config import EngineError
from build_engines.checkpoint.huggingface_config import CheckpointError
from build_engines.checkpoint.partial_directory import ConversionError
from build_engines.checkpoint.progress import ProgressBar
from build_engines.documentation import render_document
from build_engines.engine_directories import EngineDirectories
from build_engines.options import engine_arguments, engine_of, model_of, parse
from build_engines.plan.capacity import PlanError, make_plan
from build_engines.plan.report import render
from build_engines.quantize.packages import ModelOptError
from build_engines.quantize.run import CALIBRATION, quantize
from build_engines.repository import RepositoryError
from build_engines.tensorrt_llm.assemble import assemble
from build_engines.tensorrt_llm.build import build_engine
from build_engines.tensorrt_llm.preflight import PreflightError
from build_engines.tensorrt_llm.tool import ToolError
from build_engines.verify.directory import VerificationError, verify
from catalog import CatalogError
from catalog.schema import CALIBRATED

ERRORS = (
    CatalogError,
    CheckpointError,
    ConversionError,
    EngineError,
    ModelOptError,
    PlanError,
    PreflightError,
    RepositoryError,
    ToolError,
    VerificationError,
)


def main(arguments: list[str] | None = None, program: str = "python -m build_engines") -> int:
    """Run one command; returns the exit code: 0, or 1 with the reason on stderr."""
    options = parse(arguments, program)
    try:
        return COMMANDS[options.command](options)
    except ERRORS as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted")


def _plan(options: argparse.Namespace) -> int:
    plan = make_plan(model_of(options), engine_of(options))
    print(plan.model_dump_json(indent=2) if options.json else render(plan))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    # huggingface_hub takes a second to import, and no other command needs it.
    from build_engines.checkpoint.fetch import FetchError, fetch

    try:
        snapshot = fetch(
            model_of(options),
            options.output,
            revision=options.revision,
            allow_pickle=options.allow_pickle,
        )
    except FetchError as error:
        return _fail(str(error))
    _warn_of_differences(options.output, options)
    print(f"{options.output}: {snapshot.repository} at {snapshot.revision}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    model, engine = model_of(options), engine_of(options)
    if engine.quantization in CALIBRATED:
        quantize(
            model,
            engine,
            options.checkpoint,
            options.output,
            report=_report,
            calibration=options.calibration or CALIBRATION,
        )
    else:
        convert(
            model,
            options.checkpoint,
            options.output,
            tp_size=engine.tp_size,
            dtype=engine.dtype,
            quantization=engine.quantization,
            allow_pickle=options.allow_pickle,
            progress=ProgressBar("converting", sys.stderr),
        )
    print(options.output)
    return 0


def _build(options: argparse.Namespace) -> int:
    model, engine = model_of(options), engine_of(options)
    build_engine(model, engine, options.checkpoint, options.output, report=_report)
    print(options.output)
    return 0


def _prepare(options: argparse.Namespace) -> int:
    """Fetch, convert and build what is not there yet; the checkpoint between them is removed."""
    directories = EngineDirectories.of(options.root, model_of(options), engine_of(options))
    checkpoint, converted, engine = (
        str(each) for each in (directories.checkpoint, directories.converted, directories.engine)
    )
    pickle = ["--allow-pickle"] if options.allow_pickle else []
    chosen = engine_arguments(options)
    steps = [["build", options.model, "--checkpoint", converted, "--output", engine, *chosen]]
    if not directories.converted.exists():
        steps = [
            ["fetch", options.model, "--output", checkpoint, *pickle],
            [
                *("convert", options.model, "--checkpoint", checkpoint, "--output", converted),
                *(*pickle, *chosen),
            ],
            *steps,
        ]
    try:
        with directories.locked():
            for step in [] if directories.engine.exists() else steps:
                _report(f"{step[0]} {options.model}")
                if code := main(step):
                    return code
            shutil.rmtree(directories.converted, ignore_errors=True)
    except OSError as error:
        return _fail(f"{options.root}: cannot be written: {error.strerror}")
    print(directories.engine)
    return 0


def _assemble(options: argparse.Namespace) -> int:
    model, engine = model_of(options), engine_of(options)
    repository = assemble(
        model,
        engine,
        options.engine,
        options.checkpoint,
        options.output,
        runtime=options.runtime or engine.runtime,
    )
    _warn_of_differences(options.checkpoint, options)
    print(repository.path)
    return 0


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.directory, ProgressBar("hashing", sys.stderr))
    print(report.render())
    if options.against is None or not report.ok:
        return 0 if report.ok else 1
    # It imports torch and transformers.
    from build_engines.verify.comparison import verify_against

    comparison = verify_against(options.directory, options.against)
    print(comparison.render())
    return 0 if comparison.ok else 1


def _docs(_: argparse.Namespace) -> int:
    print(render_document(), end="")
    return 0


def _warn_of_differences(checkpoint: Path, options: argparse.Namespace) -> None:
    for difference in catalog_differences(model_of(options), checkpoint):
        _report(f"warning: {difference}")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


COMMANDS = {
    "plan": _plan,
    "fetch": _fetch,
    "convert": _convert,
    "build": _build,
    "prepare": _prepare,
    "assemble": _assemble,
    "verify": _verify,
    "docs": _docs,
}

if __name__ == "__main__":
    sys.exit(main())
