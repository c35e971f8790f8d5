"""Python code in the form that black gives it."""

import asyncio
import sys

FORMAT_SECONDS = 3.0
MAX_AT_ONCE = 2
MAX_GROWTH = 4
"""Deeply nested brackets grow a thousandfold; such code is left alone."""


class Formatter:
    """Formats a few pieces of code at once, each in a process of its own.

    Not in this one: a few thousand characters can keep black busy for minutes.
    """

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def format(self, code: str) -> str:
        """Return Python code formatted by black, or as it came if black makes nothing of it."""
        async with self._slots:
            output = await _run_black(code)
        return code if output is None or len(output) > MAX_GROWTH * (len(code) + 1) else output


async def _run_black(code: str) -> str | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "black", "--quiet", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(FORMAT_SECONDS):
            output, _ = await process.communicate(code.encode())
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode() if process.returncode == 0 else None
