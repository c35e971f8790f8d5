"""A line that says how far a long copy is."""

import time
from dataclasses import dataclass, field
from typing import TextIO

from build_engines.plan.gpus import GIB

BAR_WIDTH = 24
REDRAW_SECONDS = 0.2
LOG_SECONDS = 30.0
"""Interval of the lines where the output is not a terminal."""


@dataclass(slots=True)
class ProgressBar:
    """Called with bytes done and bytes in all; writes bar, sizes, rate and the time left."""

    label: str
    output: TextIO
    _started: float = field(default_factory=time.monotonic)
    _written: float = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        """Show the state, if it was not shown just now or is the last."""
        now = time.monotonic()
        is_terminal = self.output.isatty()
        interval = REDRAW_SECONDS if is_terminal else LOG_SECONDS
        if done < total and now - self._written < interval:
            return
        self._written = now
        line = f"{self.label} {_bar(done, total)} {_state(done, total, now - self._started)}"
        ends_line = done >= total or not is_terminal
        self.output.write(("\r" if is_terminal else "") + line + ("\n" if ends_line else ""))
        self.output.flush()


def _bar(done: int, total: int) -> str:
    filled = BAR_WIDTH * done // max(1, total)
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]"


def _state(done: int, total: int, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    left = f"{(total - done) / rate:.0f} s left" if rate else "time left unknown"
    return f"{done / GIB:.2f} of {total / GIB:.2f} GiB, {rate / GIB:.2f} GiB/s, {left:<18}"
