"""The GPUs that engines are planned for."""

from dataclasses import dataclass

from catalog.schema import GpuName

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU model."""

    name: GpuName
    product: str
    """A word of the name that its driver reports."""
    nominal_gib: int
    """The memory size it is sold with, which tells an A100-40 from an A100-80."""
    usable_bytes: int
    """What is left of it for a process."""
    fp8: bool
    """Whether its tensor cores compute in FP8 (SM 89 and newer)."""


def _gpu(name: GpuName, product: str, nominal_gib: int, usable_gib: float, fp8: bool) -> Gpu:
    return Gpu(name, product, nominal_gib, int(usable_gib * GIB), fp8)


# 79.10 GiB of an 80 GB card is what TensorRT-LLM logs (NVIDIA/TensorRT-LLM,
# docs/source/legacy/reference/memory.md); the others are what their drivers report, less a little.
GPUS: dict[GpuName, Gpu] = {
    gpu.name: gpu
    for gpu in (
        _gpu("A10G", "A10G", 24, 22.2, fp8=False),
        _gpu("A100-40", "A100", 40, 39.4, fp8=False),
        _gpu("A100-80", "A100", 80, 79.1, fp8=False),
        _gpu("H100", "H100", 80, 79.1, fp8=True),
        _gpu("H200", "H200", 141, 139.8, fp8=True),
    )
}
