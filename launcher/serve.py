"""Serve the models: a tritonserver on loopback, and the shim in front of it.

Runs until Ctrl-C or SIGTERM; a tritonserver that ends before, or loses a model, is started again.
"""

import argparse
import ipaddress
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from build_engines.checkpoint.engine_config import EngineError
from build_engines.repository import ENSEMBLE, ModelRepository, RepositoryError, combine
from build_engines.tensorrt_llm.assemble import COMMITTED, assemble_reference
from catalog import load_catalog
from launcher.deployment import read_deployment
from launcher.installation import InstallationError
from launcher.ports import LOOPBACK, PortTakenError, TritonPorts, require_free
from launcher.preflight import PreflightError, check, inspect_machine, problems
from launcher.run_directory import RunDirectoryError, find_run_directory
from launcher.server import TritonServer, TritonStartError, TritonStopError
from launcher.signals import StopSignals, run_below_init
from launcher.supervisor import START_SECONDS, Supervisor
from shim.observation import logs
from shim.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from shim.server import ShimServer

DEFAULT_MODEL = "stablelm-zephyr-3b"
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
"""The reference engine's, as a test has it: the engine itself would import torch."""


def main(arguments: list[str] | None = None, program: str = "python -m launcher") -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code.

    Args:
        arguments: of the command line; those of this process if `None`.
        program: how usage errors call it.
    """
    options = parse_arguments(arguments, program)
    run_below_init()
    signals = StopSignals()
    try:
        return run(options, signals)
    except (
        EngineError,
        InstallationError,
        PortTakenError,
        PreflightError,
        RepositoryError,
        RunDirectoryError,
        SettingsError,
        TritonStartError,
        TritonStopError,
    ) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace, signals: StopSignals) -> int:
    """Check the machine and what is to be served, then serve it; returns the exit code."""
    ports = TritonPorts(
        grpc=arguments.triton_grpc_port,
        http=arguments.triton_http_port,
        metrics=arguments.triton_metrics_port,
        host=arguments.triton_host,
    )
    run_directory = find_run_directory(arguments.run_directory, arguments.port)
    repository, ensembles = model_repository(arguments, run_directory / "model_repository")
    deployment = read_deployment(repository, sorted(set(ensembles.values())))
    settings = None if arguments.triton_only else shim_settings(arguments, ports, ensembles)
    triton = TritonServer(repository.path, run_directory, ports, deployment)
    if arguments.dry_run:
        return print_plan(triton, problems(deployment, inspect_machine()))
    if settings is not None:
        require_free(settings.host, settings.port, "PORT")
    require_free(ports.host, ports.grpc, "TRITON_GRPC_PORT")
    require_free(ports.host, ports.http, "TRITON_HTTP_PORT")
    require_free(ports.host, ports.metrics, "TRITON_METRICS_PORT")
    check(deployment)
    logs.install(settings.log_level if settings else "INFO")
    signals.hurry = triton.hurry
    with triton:
        print(f"loading models; the log is {triton.log_path}", flush=True)
        shim = None if settings is None else make_shim(settings)
        triton.wait_until_ready(START_SECONDS, on_wait=_report_wait)
        if shim is None:
            print(f"ready: Triton's gRPC at {triton.grpc_address}", flush=True)
            return supervise(triton)
        return serve(shim, triton, signals)


def print_plan(triton: TritonServer, found: list[str]) -> int:
    """Print the command that would start Triton, and what is missing; returns the exit code."""
    command, environment = triton.command()
    changed = {name: value for name, value in environment.items() if os.environ.get(name) != value}
    print(shlex.join(["env", *(f"{name}={value}" for name, value in changed.items()), *command]))
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    return 1 if found else 0


def parse_arguments(given: list[str] | None, program: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where the shim listens")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--triton-grpc-port", type=int, default=8001)
    parser.add_argument("--triton-http-port", type=int, default=8010)
    parser.add_argument("--triton-metrics-port", type=int, default=8002)
    parser.add_argument(
        "--triton-host",
        default=LOOPBACK,
        type=_ip_address,
        help="address that Triton listens on, which only shims and Prometheus should reach",
    )
    parser.add_argument(
        "--triton-only",
        action="store_true",
        help="serve no HTTP API; an `aeolus shim` elsewhere does (AEOLUS_MODEL_ADDRESSES)",
    )
    parser.add_argument(
        "--run-directory",
        type=Path,
        help="for logs, backends and assembled repositories; .run if it can be written",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the command that would start Triton and what this machine lacks, then exit",
    )
    parser.add_argument(
        "--model",
        action="append",
        choices=list(load_catalog()),
        help="serve only this model; several times for several models of one Triton",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        help="its checkpoint directory, Hugging Face's or converted; one per --model",
    )
    source.add_argument(
        "--repository",
        type=Path,
        action="append",
        help="its assembled model repository; one per --model",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="of the checkpoint's weights; auto is bfloat16 where the CPU gains by it;"
        " int8: a quarter of float32's memory",
    )
    parser.add_argument("--tp", type=int, help="processes that share the checkpoint's model")
    parser.add_argument("--tokenizer", type=Path, help="where a converted checkpoint's is")
    arguments = parser.parse_args(given)
    models = arguments.model or []
    for name in ("checkpoint", "repository"):
        sources = getattr(arguments, name)
        if sources and not models:
            parser.error(f"--{name} needs --model: the catalog name of the model it is (MODEL=...)")
        if sources and len(sources) != len(models):
            parser.error(f"{len(models)} --model and {len(sources)} --{name}: give one for each")
    if len(set(models)) < len(models):
        parser.error("--model: the same model twice")
    if (arguments.tp or arguments.tokenizer) and not arguments.checkpoint:
        parser.error("--tp and --tokenizer are of a --checkpoint (CHECKPOINT=...)")
    return arguments


def model_repository(
    arguments: argparse.Namespace, destination: Path
) -> tuple[ModelRepository, dict[str, str]]:
    """Return the repository to serve, and the ensemble in it of each model.

    It is a given one, one written for a checkpoint, the committed one; or several combined.
    """
    names = arguments.model or list(load_catalog())
    if arguments.checkpoint is None and arguments.repository is None:
        return COMMITTED, dict.fromkeys(names, ENSEMBLE)
    shutil.rmtree(destination, ignore_errors=True)
    if len(names) == 1:
        return _source(arguments, 0, destination), {names[0]: ENSEMBLE}
    parts = {}
    for number, name in enumerate(names):
        parts[name] = _source(arguments, number, destination.with_name("sources") / name)
        read_deployment(parts[name], [ENSEMBLE])
    return combine(parts, destination), {name: name for name in names}


def _source(arguments: argparse.Namespace, number: int, destination: Path) -> ModelRepository:
    """Return the repository of one of the models of the command line."""
    if arguments.repository is not None:
        return ModelRepository(arguments.repository[number])
    return assemble_reference(
        load_catalog()[arguments.model[number]],
        arguments.checkpoint[number],
        destination,
        arguments.dtype,
        tensor_parallel_size=arguments.tp,
        tokenizer=arguments.tokenizer,
    )


def shim_settings(
    arguments: argparse.Namespace, ports: TritonPorts, ensembles: dict[str, str]
) -> Settings:
    """Return the shim's settings; what the command line does not say is read as always."""
    return read_settings(
        host=arguments.host,
        port=arguments.port,
        triton_addresses=[f"{ports.local_host}:{ports.grpc}"],
        triton_metrics_addresses=[f"{ports.local_host}:{ports.metrics}"],
        models=ensembles,
        default_model=arguments.model[0] if arguments.model else DEFAULT_MODEL,
    )


def make_shim(settings: Settings) -> "ShimServer":
    """Return the shim; to import it takes seconds, in which the models load."""
    from shim.app import create_app
    from shim.server import ShimServer

    return ShimServer(create_app(settings))


def serve(shim: "ShimServer", triton: TritonServer, signals: StopSignals) -> int:
    """Run the shim, and Triton under it, until a signal; returns the exit code."""
    supervisor = Supervisor(triton, give_up=shim.stop)
    supervisor.start()
    try:
        shim.run(sockets=[shim.listen()])
    finally:
        signals.is_stopping = True
        supervisor.stop(at_once=shim.force_exit)
    return _exit_code(supervisor)


def supervise(triton: TritonServer) -> int:
    """Run only Triton, until SIGTERM or SIGINT; returns the exit code."""
    supervisor = Supervisor(triton)
    supervisor.start()
    try:
        supervisor.join()
    finally:
        supervisor.stop()
    return _exit_code(supervisor)


def _exit_code(supervisor: Supervisor) -> int:
    if supervisor.failure is None:
        return 0
    print(f"error: {supervisor.failure}", file=sys.stderr)
    return 1


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def _report_wait(seconds: float) -> None:
    print(f"loading models: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
