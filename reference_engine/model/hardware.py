"""How a model runs best on the machine at hand (docs/performance.md has the measurements)."""

from pathlib import Path

import torch

from reference_engine.model.model_config import ModelConfig

AUTO = "auto"
CPU = torch.device("cpu")
# Below this hidden size a projection takes microseconds: waking a second thread for it costs more
# than the thread saves, and half the bytes save nothing.
SMALL_HIDDEN_SIZE = 512
NATIVE_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def best_device() -> torch.device:
    """Return the GPU if torch sees one, else the CPU."""
    return torch.device("cuda") if torch.cuda.is_available() else CPU


def resolve_dtype(asked: str, model: ModelConfig, device: torch.device) -> str:
    """Return what "auto" stands for: bfloat16 where the device has it and the model gains."""
    if asked != AUTO:
        return asked
    if model.hidden_size < SMALL_HIDDEN_SIZE:
        return "float32"
    is_native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _has_bfloat16()
    return "bfloat16" if is_native else "float32"


def use_threads_for(model: ModelConfig) -> None:
    """Let the calling thread compute a small model alone, without OpenMP's other threads."""
    if model.hidden_size < SMALL_HIDDEN_SIZE:
        torch.set_num_threads(1)


def _has_bfloat16() -> bool:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return False
    lines = path.read_text().splitlines()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not NATIVE_BFLOAT16_FLAGS.isdisjoint(flags.split())
