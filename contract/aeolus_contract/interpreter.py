"""How a process of ours starts another one of the same Python, also from inside Triton's stub."""

import os
import shutil
import sys


def interpreter() -> str:
    """Return the interpreter; in Triton's stub, which embeds one, the first on PATH."""
    if "python" in os.path.basename(sys.executable):
        return sys.executable
    return shutil.which("python3") or "python3"


def environment() -> dict[str, str]:
    """Return the environment in which it imports what this process does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
