"""The processes of this machine and what each has used, as Linux reports it in /proc."""

import contextlib
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB = 1024
MODEL_OF_STUB = re.compile(r"/([^/]+)/\d+/model\.py$")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; what it has used is read on each call."""

    pid: int
    parent: int
    command: tuple[str, ...]

    @property
    def model(self) -> str | None:
        """The model that a stub of Triton's Python backend runs; None for other programs."""
        for word in self.command:
            if model := MODEL_OF_STUB.search(word):
                return model[1]
        return None

    @property
    def name(self) -> str:
        """The model, if it is a stub; the script that a Python runs; else the program."""
        if self.model:
            return self.model
        program = Path(self.command[0]).name
        if program.startswith("python"):
            scripts = [Path(each).stem for each in self.command[1:] if each.endswith(".py")]
            return scripts[0] if scripts else program
        return program

    @property
    def rank(self) -> int | None:
        """Its rank where Open MPI has started it, or what it descends from; else None."""
        rank = self.environment().get("OMPI_COMM_WORLD_RANK")
        return None if rank is None else int(rank)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return _command(self.pid) == self.command

    def environment(self) -> dict[str, str]:
        """Return the environment that it was started with; empty if it is of another user."""
        try:
            content = (PROC / str(self.pid) / "environ").read_bytes().decode(errors="replace")
        except OSError:
            return {}
        return dict(each.split("=", 1) for each in content.split("\0") if "=" in each)

    def kill(self) -> None:
        """Kill it, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

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
    """Yield every process that has a command line; a zombie has none."""
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


def zombies_of(parents: set[int]) -> set[int]:
    """Return the children of `parents` that have ended and that nobody has waited for."""
    found = set()
    for directory in PROC.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = _stat(int(directory.name))[:2]
            if state == "Z" and int(parent) in parents:
                found.add(int(directory.name))
    return found


def processes_with(variable: str, value: str) -> list[Process]:
    """Return the processes of this user that were started with `variable` set to `value`."""
    return [each for each in running_processes() if each.environment().get(variable) == value]


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
