"""What SIGTERM and SIGINT do to the main program, and how it runs as PID 1."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from launcher import guardian


class StopSignals:
    """The first signal ends the main program by SystemExit(0); each later one calls `hurry`."""

    def __init__(self) -> None:
        """Take over SIGTERM and SIGINT; call from the main thread."""
        self.is_stopping = False
        self.hurry: Callable[[], None] = lambda: None
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_stopping:
            self.hurry()
            return
        self.is_stopping = True
        sys.exit(0)


def run_below_init() -> None:
    """As PID 1, replace this process by a guardian that starts it again; else return.

    PID 1 of a container must reap the orphans of all others, and has no default action for
    signals.
    """
    if os.getpid() == 1:
        command = [sys.executable, *sys.orig_argv[1:]]
        program = [sys.executable, "-I", "-S", guardian.__file__, "0", "inf", "", *command]
        os.execv(sys.executable, program)  # noqa: S606 - runs a program, without a shell
