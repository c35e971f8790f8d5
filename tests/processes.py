"""What runs on this machine on behalf of a server under test."""

import re
import time
from pathlib import Path

from launcher.server import SHARED_MEMORY

SHARED_MEMORY_OPTION = re.compile(r"shm-region-prefix-name=(\S+)")


def processes_of(run_directory: Path) -> list[str]:
    """Command lines of the tritonserver and the stubs that were started from `run_directory`."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(run_directory) in command and "triton" in command:
            commands.append(command)
    return commands


def stub_of(run_directory: Path, model: str) -> int:
    """Return the process that runs a Python model of the tritonserver of `run_directory`."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(run_directory) in command and f"/{model}/1/model.py" in command:
            return int(path.parent.name)
    raise AssertionError(f"no process runs {model}")


def left_after(run_directory: Path, seconds: float) -> list[str]:
    """Wait until nothing of `run_directory` runs; return what still does after `seconds`."""
    deadline = time.monotonic() + seconds
    while processes_of(run_directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes_of(run_directory)


def shared_memory_prefix(run_directory: Path) -> str:
    """Return what the names of a running server's shared-memory regions begin with."""
    found = SHARED_MEMORY_OPTION.search(" ".join(processes_of(run_directory)))
    assert found is not None, "no tritonserver runs"
    return found[1]


def shared_memory(prefix: str) -> list[str]:
    """Names of the shared-memory regions that begin with `prefix`."""
    return [path.name for path in SHARED_MEMORY.glob(f"{prefix}*")]
