"""What runs on this machine on behalf of a server under test."""

import re
import time
from pathlib import Path

from launcher.processes import Process, running_processes
from launcher.server import SHARED_MEMORY

SHARED_MEMORY_OPTION = re.compile(r"shm-region-prefix-name=(\S+)")


def processes_of(run_directory: Path) -> list[Process]:
    """The tritonserver and the stubs that were started from `run_directory`."""
    return [
        each
        for each in running_processes()
        if str(run_directory) in (command := " ".join(each.command)) and "triton" in command
    ]


def process_of(run_directory: Path, name: str) -> int:
    """Return the tritonserver of `run_directory`, or its stub that runs a model of that name."""
    (pid,) = (each.pid for each in processes_of(run_directory) if each.name == name)
    return pid


def left_after(run_directory: Path, seconds: float) -> list[Process]:
    """Wait until nothing of `run_directory` runs; return what still does after `seconds`."""
    deadline = time.monotonic() + seconds
    while processes_of(run_directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes_of(run_directory)


def shared_memory_prefix(run_directory: Path) -> str:
    """Return what the names of a running server's shared-memory regions begin with."""
    commands = [" ".join(each.command) for each in processes_of(run_directory)]
    found = SHARED_MEMORY_OPTION.search(" ".join(commands))
    assert found is not None, "no tritonserver runs"
    return found[1]


def shared_memory(prefix: str) -> list[str]:
    """Names of the shared-memory regions that begin with `prefix`."""
    return [path.name for path in SHARED_MEMORY.glob(f"{prefix}*")]
