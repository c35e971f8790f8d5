"""Serve the models: a tritonserver on loopback, and the shim in front of it.

Runs until Ctrl-C or SIGTERM; a tritonserver that ends before, or loses a model, is started again.
"""

import argparse
import sys
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineError, read_engine
from build_engines.repository import ModelRepository, RepositoryError
from build_engines.tensorrt_llm.assemble import COMMITTED, assemble_reference
from catalog import load_catalog
from launcher.command import HOST as TRITON_HOST
from launcher.installation import InstallationError
from launcher.ports import PortTakenError, TritonPorts, require_free
from launcher.server import TritonServer, TritonStartError, TritonStopError
from launcher.signals import StopSignals, run_below_init
from launcher.supervisor import START_SECONDS, Supervisor
from shim.app import create_app
from shim.observation import logs
from shim.server import ShimServer
from shim.settings import Settings, SettingsError, read_settings

RUN_DIRECTORY = Path(".run")
DEFAULT_MODEL = "stablelm-zephyr-3b"


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    arguments = parse_arguments()
    run_below_init()
    signals = StopSignals()
    ports = TritonPorts(
        grpc=arguments.triton_grpc_port,
        http=arguments.triton_http_port,
        metrics=arguments.triton_metrics_port,
    )
    run_directory = RUN_DIRECTORY / str(arguments.port)
    try:
        require_free(arguments.host, arguments.port, "PORT")
        require_free(TRITON_HOST, ports.grpc, "TRITON_GRPC_PORT")
        require_free(TRITON_HOST, ports.http, "TRITON_HTTP_PORT")
        require_free(TRITON_HOST, ports.metrics, "TRITON_METRICS_PORT")
        repository = model_repository(arguments, run_directory / "model_repository")
        ranks = world_size(repository)
        settings = shim_settings(arguments, ports)
        logs.install(settings.log_level)
        triton = TritonServer(repository.path, run_directory, ports, ranks)
        signals.hurry = triton.hurry
        with triton:
            print(f"loading models; the log is {triton.log_path}", flush=True)
            triton.wait_until_ready(START_SECONDS, on_wait=_report_wait)
            return serve(settings, triton, signals)
    except (
        EngineError,
        InstallationError,
        PortTakenError,
        RepositoryError,
        SettingsError,
        TritonStartError,
        TritonStopError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where the shim listens")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--triton-grpc-port", type=int, default=8001)
    parser.add_argument("--triton-http-port", type=int, default=8010)
    parser.add_argument("--triton-metrics-port", type=int, default=8002)
    parser.add_argument("--model", choices=list(load_catalog()), help="serve this model alone")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--checkpoint", type=Path, help="its checkpoint directory, Hugging Face's or converted"
    )
    source.add_argument("--repository", type=Path, help="its assembled model repository")
    parser.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="of the checkpoint's weights; auto is bfloat16 where the CPU gains by it",
    )
    parser.add_argument("--tp", type=int, help="processes that share the checkpoint's model")
    parser.add_argument("--tokenizer", type=Path, help="where a converted checkpoint's is")
    arguments = parser.parse_args()
    for name in ("checkpoint", "repository"):
        if getattr(arguments, name) and not arguments.model:
            parser.error(f"--{name} needs --model: the catalog name of the model it is (MODEL=...)")
    if (arguments.tp or arguments.tokenizer) and not arguments.checkpoint:
        parser.error("--tp and --tokenizer are of a --checkpoint (CHECKPOINT=...)")
    return arguments


def model_repository(arguments: argparse.Namespace, destination: Path) -> ModelRepository:
    """Return the repository to serve: a given one, one for a checkpoint, or the committed one."""
    if arguments.repository is not None:
        return ModelRepository(arguments.repository)
    if arguments.checkpoint is None:
        return COMMITTED
    model = load_catalog()[arguments.model]
    return assemble_reference(
        model,
        arguments.checkpoint,
        destination,
        arguments.dtype,
        tensor_parallel_size=arguments.tp,
        tokenizer=arguments.tokenizer,
    )


def world_size(repository: ModelRepository) -> int:
    """Return how many ranks the engine of a repository has; the reference engine has one."""
    engine = repository.read("tensorrt_llm").parameters["gpt_model_path"].string_value
    return read_engine(Path(engine)).pretrained_config.mapping.world_size if engine else 1


def shim_settings(arguments: argparse.Namespace, ports: TritonPorts) -> Settings:
    """Return the shim's settings; what the command line does not say is read as always."""
    names = [arguments.model] if arguments.model else list(load_catalog())
    return read_settings(
        host=arguments.host,
        port=arguments.port,
        triton_addresses=[f"{TRITON_HOST}:{ports.grpc}"],
        models=dict.fromkeys(names, "ensemble"),
        default_model=arguments.model or DEFAULT_MODEL,
    )


def serve(settings: Settings, triton: TritonServer, signals: StopSignals) -> int:
    """Run the shim, and Triton under it, until a signal; returns the exit code."""
    shim = ShimServer(create_app(settings))
    supervisor = Supervisor(triton, shim)
    supervisor.start()
    try:
        shim.run(sockets=[shim.listen()])
    finally:
        signals.is_stopping = True
        supervisor.stop(at_once=shim.force_exit)
    if supervisor.failure is not None:
        print(f"error: {supervisor.failure}", file=sys.stderr)
        return 1
    return 0


def _report_wait(seconds: float) -> None:
    print(f"loading models: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
