"""Stands in for NVIDIA's pynvml: as many GPUs of a kind as the environment says."""

import os
from types import SimpleNamespace


class NVMLError(Exception):
    """What the library raises."""


def __getattr__(name: str) -> object:
    if name.startswith("NVMLError"):
        return NVMLError
    raise AttributeError(name)


def nvmlInit() -> None:  # noqa: N802 - the library's names
    """Do nothing."""


def nvmlShutdown() -> None:  # noqa: N802
    """Do nothing."""


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return int(os.environ["STAND_IN_GPUS"])


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    return index


def nvmlDeviceGetName(_: int) -> str:  # noqa: N802
    return os.environ["STAND_IN_GPU"]


def nvmlDeviceGetCudaComputeCapability(_: int) -> tuple[int, int]:  # noqa: N802
    return (8, 6)


def nvmlDeviceGetMemoryInfo(_: int) -> SimpleNamespace:  # noqa: N802
    total = int(os.environ["STAND_IN_MEMORY_MIB"]) << 20
    return SimpleNamespace(total=total, free=total, used=0)
