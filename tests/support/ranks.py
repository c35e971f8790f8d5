"""The processes of following ranks on this machine."""

import os
import time

from launcher.processes import running_processes

MODULE = "reference_engine.ranks.worker"


def followers_of(leader: int) -> list[int]:
    """Process ids of the ranks that process `leader` has started and that still run."""
    return [
        each.pid
        for each in running_processes()
        if MODULE in each.command and each.command[each.command.index(MODULE) + 2] == str(leader)
    ]


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
