"""The processes of following ranks on this machine."""

import os
import time
from pathlib import Path

MODULE = "reference_engine.tensor_parallel.worker"


def followers_of(leader: int) -> list[int]:
    """Process ids of the ranks that process `leader` has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if MODULE in arguments and arguments[arguments.index(MODULE) + 2] == str(leader):
            found.append(int(path.parent.name))
    return found


def the_follower_of(leader: int) -> int:
    (follower,) = followers_of(leader)
    return follower


def has_ended(process: int, seconds: float = 60) -> bool:
    """Wait until a process is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
