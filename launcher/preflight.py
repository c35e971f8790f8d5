"""What this machine lacks for a deployment, found before a server is started."""

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import pynvml

from launcher.deployment import Deployment, Engine
from launcher.guardian import SHARED_MEMORY

MIB, GIB = 1 << 20, 1 << 30
MIN_OPEN_FILES = 1024
"""A tritonserver with four models has about 120 files open, and one more per connection."""
SHARED_MEMORY_PER_MODEL = 4 * MIB
"""The Python backend takes 1 MiB at the start of a model, and more as requests need it."""
SHARED_MEMORY_OF_RANKS = GIB
"""NVIDIA's recommendation for NCCL in containers (NCCL user guide, Docker)."""
FP8_CAPABILITY = (8, 9)


class PreflightError(RuntimeError):
    """This machine cannot serve the deployment; the text has one line per reason."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One visible GPU."""

    name: str
    capability: tuple[int, int]
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What of this machine a deployment depends on."""

    gpus: tuple[Gpu, ...]
    tensorrt_llm: str | None
    """Installed version."""
    shared_memory_bytes: int
    """Free in /dev/shm."""
    open_files: int
    """The limit of this process."""
    mpirun: str | None
    """Where it is."""


def inspect_machine() -> Machine:
    """Look at this machine; raises the limit of open files as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    memory = os.statvfs(SHARED_MEMORY)
    return Machine(
        gpus=tuple(_visible_gpus()),
        tensorrt_llm=_installed_version(),
        shared_memory_bytes=memory.f_bavail * memory.f_frsize,
        open_files=hard,
        mpirun=shutil.which("mpirun"),
    )


def problems(deployment: Deployment, machine: Machine) -> list[str]:
    """Return everything that would keep the deployment from being served, with its remedy."""
    return [
        *_limit_problems(deployment, machine),
        *_rank_problems(deployment, machine),
        *(
            problem
            for engine in deployment.engines
            if engine.on_gpus
            for problem in _engine_problems(engine, machine)
        ),
    ]


def check(deployment: Deployment) -> None:
    """Check this machine.

    Raises:
        PreflightError: it lacks something.
    """
    if found := problems(deployment, inspect_machine()):
        raise PreflightError("\n".join(found))


def _limit_problems(deployment: Deployment, machine: Machine) -> Iterator[str]:
    if machine.open_files < MIN_OPEN_FILES:
        yield (
            f"only {machine.open_files} files may be open; allow {MIN_OPEN_FILES} or more "
            "(`ulimit -n`, in Docker `--ulimit nofile=65536`)"
        )
    needed = SHARED_MEMORY_PER_MODEL * len(deployment.repository.models) * deployment.servers
    if any(each.on_gpus for each in deployment.engines) and deployment.world_size > 1:
        needed += SHARED_MEMORY_OF_RANKS
    if machine.shared_memory_bytes < needed:
        yield (
            f"{SHARED_MEMORY} has {machine.shared_memory_bytes // MIB} MiB free, of at least "
            f"{needed // MIB} MiB that are needed; enlarge it (in Docker `--shm-size=2g`, in "
            "Kubernetes an emptyDir with medium Memory)"
        )


def _rank_problems(deployment: Deployment, machine: Machine) -> Iterator[str]:
    if deployment.world_size > 1 and machine.mpirun is None:
        yield (
            f"the engine has {deployment.world_size} ranks, which mpirun starts, and there is "
            "none on PATH; install Open MPI (Debian: openmpi-bin)"
        )


def _engine_problems(engine: Engine, machine: Machine) -> Iterator[str]:
    if machine.tensorrt_llm is None:
        yield (
            f"{engine.directory}: needs TensorRT-LLM {engine.config.version}, and this Python has "
            "none; serve it in NVIDIA's Triton container with TensorRT-LLM"
        )
    elif machine.tensorrt_llm != engine.config.version:
        yield (
            f"{engine.directory}: was built with TensorRT-LLM {engine.config.version}, and "
            f"{machine.tensorrt_llm} is installed; build it again here"
        )
    gpus = machine.gpus[: engine.world_size]
    if len(gpus) < engine.world_size:
        yield (
            f"{engine.directory}: needs {engine.world_size} GPUs, one per rank, and {len(gpus)} "
            "are visible; run where there are more (in Docker `--gpus all`), or build it for fewer "
            "ranks (--tp)"
        )
    quantization = engine.config.pretrained_config.quantization.quant_algo
    for number, gpu in enumerate(gpus):
        yield from _gpu_problems(engine, number, gpu, quantization)
    if len({each.name for each in gpus}) > 1:
        names = ", ".join(each.name for each in gpus)
        yield f"{engine.directory}: its ranks would run on GPUs of different kinds: {names}"


def _gpu_problems(engine: Engine, rank: int, gpu: Gpu, quantization: str | None) -> Iterator[str]:
    if quantization == "FP8" and gpu.capability < FP8_CAPABILITY:
        yield f"{engine.directory}: is FP8, which GPU {rank} ({gpu.name}) does not compute in"
    file = engine.rank_file(rank)
    if not file.is_file():
        yield f"{file} is missing; build the engine again"
    elif file.stat().st_size > gpu.free_bytes:
        yield (
            f"GPU {rank} ({gpu.name}) has {gpu.free_bytes / GIB:.1f} GiB free, and {file} alone "
            f"needs {file.stat().st_size / GIB:.1f} GiB; end what else runs on it (nvidia-smi), or "
            "serve with more ranks"
        )


def _installed_version() -> str | None:
    try:
        return version("tensorrt_llm")
    except PackageNotFoundError:
        return None


def _visible_gpus() -> Iterator[Gpu]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    try:
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            yield Gpu(
                name=str(pynvml.nvmlDeviceGetName(handle)),
                capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                free_bytes=pynvml.nvmlDeviceGetMemoryInfo(handle).free,
            )
    finally:
        pynvml.nvmlShutdown()
