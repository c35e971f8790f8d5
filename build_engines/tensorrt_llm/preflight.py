"""What a machine must have before an engine is built on it, checked before hours are spent."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from build_engines.plan.capacity import CapacityPlan
from build_engines.plan.gpus import GIB, GPUS, Gpu
from build_engines.plan.host_memory import available_bytes
from catalog import TENSORRT_LLM_VERSION

NOMINAL_TOLERANCE = 0.9
"""Drivers report up to a tenth less than the size a GPU is sold with."""


class PreflightError(RuntimeError):
    """This machine cannot build the engine; the text lists everything it lacks."""


@dataclass(frozen=True, slots=True)
class InstalledGpu:
    """A GPU of this machine as its driver describes it."""

    name: str
    memory_gib: float

    def is_a(self, gpu: Gpu) -> bool:
        """Whether it is the planned kind: an engine runs only where its kind was built on."""
        return gpu.product in self.name and self.memory_gib >= NOMINAL_TOLERANCE * gpu.nominal_gib


def check_machine(plan: CapacityPlan, tool: str) -> int:
    """Check GPUs and TensorRT-LLM.

    Args:
        plan: what the engine needs.
        tool: what will be run, a program on PATH or the path of a script.

    Returns:
        The number of ranks that can be worked on at once: one a GPU.

    Raises:
        PreflightError: something is missing.
    """
    gpus = list(_installed_gpus())
    problems = [*_tool_problems(tool), *_gpu_problems(gpus, GPUS[plan.engine.gpu])]
    if problems:
        raise PreflightError(f"this machine cannot build {plan.model}: {'; '.join(problems)}")
    return min(len(gpus), plan.engine.tp_size)


def host_memory_warning(plan: CapacityPlan, workers: int) -> str | None:
    """Say that the host's memory looks too small; the need is an estimate, so no error."""
    needed, available = workers * plan.host_bytes_per_worker, available_bytes()
    if available >= needed:
        return None
    return (
        f"{available / GIB:.0f} GiB of host memory are free, but {workers} workers are "
        f"estimated to need {needed / GIB:.0f} GiB"
    )


def _tool_problems(tool: str) -> Iterator[str]:
    if shutil.which(tool) is None and not Path(tool).is_file():
        yield (
            f"{tool} is not there; run this in the tritonserver container that has TensorRT-LLM "
            f"{TENSORRT_LLM_VERSION}"
        )
        return
    try:
        installed = version("tensorrt_llm")
    except PackageNotFoundError:
        yield "this Python has no TensorRT-LLM; use the one that trtllm-build belongs to"
        return
    if installed != TENSORRT_LLM_VERSION:
        yield (
            f"TensorRT-LLM is {installed}, the engines of the catalog are for "
            f"{TENSORRT_LLM_VERSION}"
        )


def _gpu_problems(gpus: list[InstalledGpu], planned: Gpu) -> Iterator[str]:
    if not gpus:
        yield "it has no GPU (nvidia-smi lists none), and TensorRT builds only on one"
    for gpu in gpus:
        if not gpu.is_a(planned):
            yield (
                f"the plan is for {planned.name}, but here is '{gpu.name}' with "
                f"{gpu.memory_gib:.0f} GiB; plan for the GPU that will serve (--gpu) and build "
                "on its kind"
            )
            return


def _installed_gpus() -> Iterator[InstalledGpu]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return
    for line in listing.stdout.splitlines():
        name, _, mebibytes = line.rpartition(",")
        yield InstalledGpu(name.strip(), int(mebibytes) / 1024)
