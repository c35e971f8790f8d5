"""The command line of `python -m build_engines` and of `aeolus`."""

import argparse
from pathlib import Path
from typing import get_args

from build_engines.plan.capacity import choose_engine
from catalog import EnginePlan, ModelEntry, load_catalog
from catalog.schema import EngineDtype, GpuName, KVCacheDtype, Quantization, Runtime

ENGINE_OPTIONS = ("gpu", "tp", "quantization", "kv-cache-dtype", "dtype", "context")
ENGINE_FLAGS = ("gather-context-logits",)
DESCRIPTION = """\
From a checkpoint's name to a deployment, a step a command: plan, fetch, convert, build, assemble;
verify tells whether what a step wrote is whole. Give every step the same engine options."""


def parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    """Read the arguments; `command` names the step. Exits with 2 where they are wrong."""
    parser = argparse.ArgumentParser(prog=program, description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plan = _command(commands, "plan", "compute memory, capacity and disk of an engine")
    _add_engine_options(plan)
    plan.add_argument("--json", action="store_true", help="for machines; sizes in bytes")

    fetch = _command(commands, "fetch", "download the Hugging Face checkpoint")
    _add_paths(fetch, output="directory; a download that stopped is continued")
    fetch.add_argument("--revision", default="main", help="branch, tag or commit (%(default)s)")
    _add_allow_pickle(fetch)

    convert = _command(commands, "convert", "make the TensorRT-LLM checkpoint, a file a rank")
    _add_paths(convert, checkpoint="Hugging Face checkpoint directory", output="directory to make")
    _add_allow_pickle(convert)
    convert.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="text for fp8 and int4_awq, like what the model will see; by default a few pages",
    )
    _add_engine_options(convert)

    build = _command(commands, "build", "run trtllm-build; needs the GPU and TensorRT-LLM")
    _add_paths(build, checkpoint="TensorRT-LLM checkpoint directory", output="directory to make")
    _add_engine_options(build)

    prepare = _command(commands, "prepare", "fetch, convert and build; what is there is kept")
    prepare.add_argument("--root", type=Path, required=True, help="directory for all models")
    _add_allow_pickle(prepare)
    _add_engine_options(prepare)

    assemble = _command(commands, "assemble", "write the model repository that serves an engine")
    _add_paths(assemble, checkpoint="Hugging Face checkpoint directory", output="directory to make")
    assemble.add_argument("--engine", type=Path, help="engine directory; none for reference")
    assemble.add_argument(
        "--runtime",
        choices=get_args(Runtime),
        help="what serves it: TensorRT-LLM's executor from Python, which serves every parameter; "
        "NVIDIA's C++ backend; or the reference engine on the checkpoint (default: the catalog's)",
    )
    _add_engine_options(assemble)

    verify = commands.add_parser("verify", help="check a TensorRT-LLM checkpoint or engine")
    verify.add_argument("directory", type=Path, metavar="DIR")
    verify.add_argument(
        "--against", type=Path, metavar="DIR", help="its source, to compare what both compute"
    )

    commands.add_parser(
        "docs", help="print the command lines of every engine of the catalog, in markdown"
    )
    return parser.parse_args(arguments)


def model_of(options: argparse.Namespace) -> ModelEntry:
    """Return the catalog's entry for MODEL."""
    return load_catalog()[options.model]


def engine_of(options: argparse.Namespace) -> EnginePlan:
    """Return the plan that MODEL and the engine options ask for.

    Raises:
        PlanError: they ask for a context that holds nothing.
    """
    return choose_engine(
        model_of(options),
        gpu=options.gpu,
        tp_size=options.tp,
        quantization=options.quantization,
        dtype=options.dtype,
        context=options.context,
        kv_cache_dtype=options.kv_cache_dtype,
        gather_context_logits=options.gather_context_logits,
    )


def engine_arguments(options: argparse.Namespace) -> list[str]:
    """Return the engine options as they were given, for another command."""
    values = [
        part
        for name in ENGINE_OPTIONS
        if (value := getattr(options, name.replace("-", "_"))) is not None
        for part in (f"--{name}", str(value))
    ]
    flags = [f"--{name}" for name in ENGINE_FLAGS if getattr(options, name.replace("-", "_"))]
    return values + flags


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("model", metavar="MODEL", choices=list(load_catalog()), help="%(choices)s")
    return parser


def _add_paths(parser: argparse.ArgumentParser, output: str, checkpoint: str | None = None) -> None:
    if checkpoint is not None:
        parser.add_argument("--checkpoint", type=Path, required=True, help=checkpoint)
    parser.add_argument("--output", type=Path, required=True, help=output)


def _add_allow_pickle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="accept PyTorch's .bin files where there are no safetensors",
    )


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine", "what the catalog plans, unless given")
    group.add_argument("--gpu", choices=get_args(GpuName))
    group.add_argument("--tp", type=_positive, metavar="N", help="number of GPUs, a rank each")
    group.add_argument("--quantization", choices=get_args(Quantization))
    group.add_argument("--kv-cache-dtype", choices=get_args(KVCacheDtype), help="fp8: calibrated")
    group.add_argument("--dtype", choices=get_args(EngineDtype), help="of what is not quantized")
    group.add_argument(
        "--context", type=_positive, metavar="N", help="most tokens of prompt and reply"
    )
    group.add_argument(
        "--gather-context-logits",
        action="store_true",
        help="keep the logits of prompts, for their log probabilities (executor)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)
