"""How a process of ours starts another one of the same Python, also from inside Triton's stub."""

import ctypes
import os
import shutil
import signal
import sys

PR_SET_PDEATHSIG = 1


def interpreter() -> str:
    """Return the interpreter; in Triton's stub, which embeds one, the first on PATH."""
    if "python" in os.path.basename(sys.executable):
        return sys.executable
    return shutil.which("python3") or "python3"


def environment() -> dict[str, str]:
    """Return the environment in which it imports what this process does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when the thread that started it ends, even by SIGKILL.

    Ctrl-C in a terminal reaches every process of the group; here only `parent` acts on it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)
