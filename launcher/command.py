"""The command line that starts a tritonserver, on one rank or several."""

from pathlib import Path

from launcher.installation import TritonInstallation
from launcher.ports import TritonPorts

HOST = "127.0.0.1"
ENGINE_MODEL = "tensorrt_llm"
FOLLOWER_OPTIONS = [
    "--allow-grpc=false",
    "--allow-http=false",
    "--allow-metrics=false",
    "--model-control-mode=explicit",
    f"--load-model={ENGINE_MODEL}",
]


def triton_command(
    installation: TritonInstallation,
    model_repository: Path,
    ports: TritonPorts,
    shared_memory_prefix: str,
    exit_timeout_seconds: int,
    world_size: int = 1,
) -> list[str]:
    """Return the arguments that start the server.

    An engine of several tensor parallel ranks runs in leader mode: one server per rank under
    mpirun, of which the first serves and the others load only the engine (NVIDIA/TensorRT-LLM,
    triton_backend/scripts/launch_triton_server.py). The others listen nowhere.
    """
    ranks = [
        [
            str(installation.executable),
            f"--model-repository={model_repository}",
            f"--backend-directory={installation.backend_directory}",
            f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix}{rank}_",
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={exit_timeout_seconds}",
            *(FOLLOWER_OPTIONS if rank else _listening(ports)),
        ]
        for rank in range(world_size)
    ]
    if world_size == 1:
        return ranks[0]
    command = ["mpirun", "--allow-run-as-root", "-n", "1", *ranks[0]]
    for rank in ranks[1:]:
        command += [":", "-n", "1", *rank]
    return command


def _listening(ports: TritonPorts) -> list[str]:
    return [
        f"--grpc-address={HOST}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={HOST}",
        f"--http-port={ports.http}",
        f"--metrics-address={HOST}",
        f"--metrics-port={ports.metrics}",
    ]
