"""Run one command and own every process that descends from it, whatever its process group.

`python guardian.py PARENT GRACE_SECONDS SHARED_MEMORY_PREFIX COMMAND...`

mpirun gives each rank a process group of its own, and a stub of Triton's Python backend outlives a
killed tritonserver: no signal to a group reaches them all. Linux hands every orphan to its nearest
ancestor that is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), which this process is. It
ends the family when the command ends, when it is asked to, and when PARENT is gone, even by
SIGKILL; then it removes the shared-memory regions of that prefix. Its own end means that nothing
of the family is left.

It starts in a few milliseconds because it imports nothing but these modules; for that reason it is
run as a file, without site-packages.

    SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2   forwarded to the command; after SIGTERM or SIGINT
                                                it has GRACE_SECONDS to end (`inf`: no limit)
    SIGQUIT                                     ends the family at once

PARENT reads the process id of the command from standard output; what the command prints goes to
standard error. The exit status is that of the command, 128 + N if signal N ended it.

PARENT 0 stands for none: as PID 1 of a container it is the init process, which reaps what others
have orphaned, and the command keeps its standard output.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where the Python backend keeps its regions
TICK_SECONDS = 0.2
"""How often it looks whether its parent still lives."""
NOT_STARTED = 127
STOPS = {signal.SIGTERM, signal.SIGINT}
FORWARDED = STOPS | {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
WAITED_FOR = FORWARDED | {signal.SIGQUIT, signal.SIGCHLD}


class Guardian:
    """The command, its deadline, and its exit status once it has ended."""

    def __init__(self, parent: int, grace_seconds: float, command: list[str]):
        """Start the command."""
        self._parent = parent
        self._grace_seconds = grace_seconds
        self._deadline = float("inf")
        self._exit_status: int | None = None
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
        self._command = _start(command, joins_outputs=bool(parent))

    def run(self) -> int:
        """Wait until the command has ended or must; return its status, with no child left."""
        if self._parent:
            print(self._command, flush=True)  # noqa: T201 - the parent waits for it
        while self._exit_status is None and time.monotonic() < self._deadline:
            received = signal.sigtimedwait(WAITED_FOR, TICK_SECONDS)
            if received is not None and received.si_signo == signal.SIGQUIT:
                break
            if received is not None and received.si_signo in FORWARDED:
                self._forward(received.si_signo)
            elif self._parent and os.getppid() != self._parent:
                self._forward(signal.SIGTERM)
                self._parent = 0
            self._reap(os.WNOHANG)
        self._kill_all()
        return NOT_STARTED if self._exit_status is None else self._exit_status

    def _forward(self, number: int) -> None:
        if number in STOPS:
            self._deadline = min(self._deadline, time.monotonic() + self._grace_seconds)
        if self._exit_status is None:
            os.kill(self._command, number)

    def _reap(self, options: int) -> bool:
        """Reap children that have ended; returns whether there are others."""
        try:
            while True:
                pid, status = os.waitpid(-1, options)
                if pid == 0:
                    return True
                if pid == self._command:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit_status = code if code >= 0 else 128 - code
                if not options:
                    return True
        except ChildProcessError:
            return False

    def _kill_all(self) -> None:
        """Kill children until there are none: those of a killed one become ours."""
        while True:
            for pid in _children(os.getpid()):
                _kill(pid)
            if not self._reap(0):
                return


def _start(command: list[str], joins_outputs: bool) -> int:
    """Start the command; `joins_outputs`: what it prints goes to standard error, too."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # in case that this guardian itself is killed
        os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the guardian only, which forwards it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
        if joins_outputs:
            os.dup2(2, 1)
        os.execvp(command[0], command)  # noqa: S606 - runs a program, without a shell
    except OSError as error:
        os.write(2, f"error: {command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _children(parent: int) -> list[int]:
    children = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # Field 2, the name of the program, may hold spaces and parentheses.
                state, its_parent = file.read().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_parent) == parent and state != "Z":
            children.append(int(name))
    return children


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _remove_shared_memory(prefix: str) -> None:
    for name in os.listdir(SHARED_MEMORY) if prefix else ():
        if name.startswith(prefix):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(SHARED_MEMORY, name))


def main() -> int:
    """Guard the command of the command line; returns its exit status."""
    parent, grace_seconds, prefix, *command = sys.argv[1:]
    status = Guardian(int(parent), float(grace_seconds), command).run()
    _remove_shared_memory(prefix)
    return status


if __name__ == "__main__":
    sys.exit(main())
