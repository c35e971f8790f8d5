"""A command in a terminal of its own."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 120.0


class Terminal:
    """Runs `aeolus` with arguments as a person would: keys go in, what is shown comes out."""

    def __init__(self, *arguments: str, state: Path, **environment: str):
        """Start it.

        Args:
            arguments: of `aeolus`.
            state: where it keeps its history.
            environment: beside that of the tests.
        """
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.all = b""
        """What has been shown."""
        self._unread = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aeolus_client", *arguments],
            env={
                **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
                "PYTHONPATH": os.pathsep.join(sys.path),
                "XDG_STATE_HOME": str(state),
                "TERM": "xterm-256color",
                **environment,
            },
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def type(self, keys: str) -> None:
        """Press keys; a return is "\\r"."""
        os.write(self._terminal, keys.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def wait_for(self, what: str) -> None:
        """Wait until it has been shown behind what was waited for before."""
        deadline = time.monotonic() + SECONDS
        while what.encode() not in self._unread:
            assert time.monotonic() < deadline, self._unread[-2000:]
            assert self._read(), f"it ended; it had shown {self.all!r}"
        _, _, self._unread = self._unread.partition(what.encode())

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        deadline = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.all[-2000:]
        return self.process.wait(SECONDS)

    def _read(self) -> bool:
        """Take what is shown now; false when nobody has the terminal open any more."""
        if select.select([self._terminal], [], [], 0.1)[0]:
            try:
                shown = os.read(self._terminal, 65536)
            except OSError:
                return False
            self.all += shown
            self._unread += shown
        return True
