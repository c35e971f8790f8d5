"""Python code in the form that black gives it."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

FORMAT_SECONDS = 3.0
MAX_AT_ONCE = 2
MAX_GROWTH = 4
"""Deeply nested brackets grow a thousandfold; such code is left alone."""


class Formatter:
    """Formats a few pieces of code at once, each in a process of its own.

    Not in this one: a few thousand characters can keep black busy for minutes.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, "format")

    async def format(self, code: str) -> str:
        """Return Python code formatted by black, or as it came if black makes nothing of it."""
        loop = asyncio.get_running_loop()
        output = await loop.run_in_executor(self._threads, _run_black, code)
        return code if output is None or len(output) > MAX_GROWTH * (len(code) + 1) else output


def _run_black(code: str) -> str | None:
    try:
        # From a thread, as the fork of the event loop's own processes stops all streams meanwhile.
        black = subprocess.run(
            [sys.executable, "-I", "-m", "black", "--quiet", "-"],
            input=code.encode(),
            capture_output=True,
            check=False,
            timeout=FORMAT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None
    return black.stdout.decode() if black.returncode == 0 else None
