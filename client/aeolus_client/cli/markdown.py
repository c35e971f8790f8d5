"""A reply drawn as markdown while it comes."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from aeolus_client.cli.terminal import visible

FENCES = ("```", "~~~")


class MarkdownStream:
    """Prints each finished block for good, and draws the last one anew with every piece.

    A reply longer than the screen scrolls as any text does.
    """

    def __init__(self, console: Console):
        """Draw on `console` inside a `with` block."""
        self._console = console
        self._live = Live(console=console, refresh_per_second=12, vertical_overflow="visible")
        self._tail = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.update(_drawn(self._tail), refresh=True)
        self._live.stop()

    def write(self, text: str) -> None:
        """Draw the next piece."""
        finished, self._tail = split_blocks(self._tail + visible(text))
        if finished:
            self._live.update(_drawn(self._tail))
            self._console.print(_drawn(finished))
            self._console.print()
        self._live.update(_drawn(self._tail))


def _drawn(text: str) -> Markdown:
    """Return markdown whose links show their addresses, and open nothing."""
    return Markdown(text, hyperlinks=False)


def split_blocks(text: str) -> tuple[str, str]:
    """Split markdown behind the last blank line outside a code block; both together are `text`."""
    cut = position = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = line.lstrip()[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in FENCES:
            fence = mark
        position += len(line)
        if not fence and not line.strip() and line.endswith("\n"):
            cut = position
    return text[:cut], text[cut:]
