"""The command line that starts a tritonserver, on one rank or several."""

import secrets
from pathlib import Path

from launcher.deployment import Deployment
from launcher.installation import TritonInstallation
from launcher.ports import TritonPorts

CLOSED = "shared-memory,model-repository,trace,logging"
"""Groups of Triton's calls that change the server or read its files; no client of ours needs them
(triton-inference-server/server, docs/customization_guide/inference_protocols.md)."""
MPIRUN = ["mpirun", "--allow-run-as-root", "--bind-to", "none"]
"""By default Open MPI binds each of two ranks, a tritonserver with all its models, to one core."""


def triton_command(
    installation: TritonInstallation,
    model_repository: Path,
    ports: TritonPorts,
    shared_memory_prefix: str,
    exit_timeout_seconds: int,
    deployment: Deployment | None = None,
) -> list[str]:
    """Return the arguments that start the server.

    One engine of several tensor parallel ranks runs in leader mode: one server per rank under
    mpirun, of which the first serves and the others load only the engine; they listen nowhere.
    Several engines, of which one has several ranks, run in orchestrator mode: one server, which
    spawns the ranks (NVIDIA/TensorRT-LLM, triton_backend/scripts/launch_triton_server.py).

    Args:
        installation: the server.
        model_repository: the directory that it is given.
        ports: where it listens.
        shared_memory_prefix: of the names of its shared-memory regions.
        exit_timeout_seconds: how long requests that run may take when it is to end.
        deployment: what is in the repository; by default models of one rank.
    """
    servers = deployment.servers if deployment else 1
    engines = [each.model for each in deployment.engines] if deployment else []
    ranks = [
        [
            str(installation.executable),
            f"--model-repository={model_repository}",
            f"--backend-directory={installation.backend_directory}",
            f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix}{rank}_",
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={exit_timeout_seconds}",
            *(_following(engines) if rank else _listening(ports)),
        ]
        for rank in range(servers)
    ]
    if deployment and deployment.is_orchestrated:
        return [*MPIRUN, "-n", "1", *ranks[0], *_without_memory_pools(deployment.world_size)]
    if servers == 1:
        return ranks[0]
    command = [*MPIRUN, "-n", "1", *ranks[0]]
    for rank in ranks[1:]:
        command += [":", "-n", "1", *rank]
    return command


def triton_environment(deployment: Deployment | None) -> dict[str, str]:
    """Return what the server needs in its environment beside what the installation needs."""
    if deployment and deployment.is_orchestrated:
        return {"TRTLLM_ORCHESTRATOR": "1", "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1"}
    return {}


def _following(engines: list[str]) -> list[str]:
    return [
        "--allow-grpc=false",
        "--allow-http=false",
        "--allow-metrics=false",
        "--model-control-mode=explicit",
        *(f"--load-model={each}" for each in engines),
    ]


def _without_memory_pools(gpus: int) -> list[str]:
    """Keep the server itself off the GPUs, which the spawned ranks need."""
    return [
        "--pinned-memory-pool-byte-size=0",
        "--enable-peer-access=false",
        *(f"--cuda-memory-pool-byte-size={gpu}:0" for gpu in range(gpus)),
    ]


def _listening(ports: TritonPorts) -> list[str]:
    # Allowed is who sends this header; nobody is given its value.
    key = f"aeolus-closed={secrets.token_hex(16)}"
    return [
        f"--http-restricted-api={CLOSED}:{key}",
        f"--grpc-restricted-protocol={CLOSED}:{key}",
        f"--grpc-address={ports.host}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={ports.host}",
        f"--http-port={ports.http}",
        f"--metrics-address={ports.host}",
        f"--metrics-port={ports.metrics}",
    ]
