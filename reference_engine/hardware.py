"""How a model runs best on the CPU at hand (docs/performance.md has the measurements)."""

from pathlib import Path

import torch

from reference_engine.checkpoint import ModelShape

AUTO = "auto"
# Below this hidden size a projection takes microseconds: waking a second thread for it costs more
# than the thread saves, and half the bytes save nothing.
SMALL_HIDDEN_SIZE = 512
NATIVE_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve_dtype(asked: str, shape: ModelShape) -> str:
    """Return what "auto" stands for: bfloat16 where the CPU computes in it and the model gains."""
    if asked != AUTO:
        return asked
    return "bfloat16" if shape.hidden_size >= SMALL_HIDDEN_SIZE and _has_bfloat16() else "float32"


def use_threads_for(shape: ModelShape) -> None:
    """Let the calling thread compute a small model alone, without OpenMP's other threads."""
    if shape.hidden_size < SMALL_HIDDEN_SIZE:
        torch.set_num_threads(1)


def _has_bfloat16() -> bool:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return False
    lines = path.read_text().splitlines()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not NATIVE_BFLOAT16_FLAGS.isdisjoint(flags.split())
