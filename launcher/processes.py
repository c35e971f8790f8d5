"""The processes of this machine and what each has used, as Linux tells it in /proc."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB = 1024
MODEL_OF_STUB = re.compile(r"/(\w+)/\d+/model\.py$")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; what it has used is read when it is asked for."""

    pid: int
    parent: int
    command: tuple[str, ...]

    @property
    def model(self) -> str | None:
        """The model that a stub of Triton's Python backend runs; none of other programs."""
        for word in self.command:
            if model := MODEL_OF_STUB.search(word):
                return model[1]
        return None

    @property
    def name(self) -> str:
        """The model, if it is a stub; else the program."""
        return self.model or Path(self.command[0]).name

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return _command(self.pid) == self.command

    def cpu_seconds(self) -> float:
        """Return the CPU time that all its threads have had."""
        user, system = _stat(self.pid)[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        """Return the bytes resident in memory, shared pages counted whole."""
        return int(_stat(self.pid)[21]) * os.sysconf("SC_PAGE_SIZE")

    def pss(self) -> int:
        """Return the bytes resident in memory, a shared page divided among those who share it."""
        rollup = (PROC / str(self.pid) / "smaps_rollup").read_text()
        (size,) = (line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
        return int(size) * KIB


def running_processes() -> Iterator[Process]:
    """Yield every process that has a command line, which one that has ended has no more."""
    for directory in PROC.glob("[0-9]*"):
        pid = int(directory.name)
        try:
            parent = int(_stat(pid)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command := _command(pid):
            yield Process(pid, parent, command)


def family(pid: int) -> list[Process]:
    """Return a process and all that descend from it, parents before their children."""
    children: defaultdict[int, list[Process]] = defaultdict(list)
    found = []
    for process in running_processes():
        children[process.parent].append(process)
        if process.pid == pid:
            found.append(process)
    for process in found:
        found += children[process.pid]
    return found


def _command(pid: int) -> tuple[str, ...]:
    """Return the command line, empty if the process has ended."""
    try:
        command = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(command.removesuffix("\0").split("\0")) if command else ()


def _stat(pid: int) -> list[str]:
    """Return the fields of proc(5)'s stat from the third on: those before may hold spaces."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
