"""What was typed before, kept between chats, and completion of commands, by readline."""

import os
import readline
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_LINES = 1000


class History:
    """Inside a `with` block, the arrow keys and Tab work in `input()`."""

    def __init__(self, words: Sequence[str]):
        """Take what Tab completes at the beginning of a line."""
        self._words = words
        self._is_on = sys.stdin.isatty()

    def __enter__(self) -> Self:
        if self._is_on:
            with suppress(OSError):
                readline.read_history_file(_path())
            readline.set_completer_delims(" ")
            readline.set_completer(self._complete)
            readline.parse_and_bind("tab: complete")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_on:
            with suppress(OSError):
                _path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                readline.set_history_length(MAX_LINES)
                readline.write_history_file(_path())

    def _complete(self, text: str, state: int) -> str | None:
        found = [each for each in self._words if text and each.startswith(text)]
        return found[state] if state < len(found) else None


def _path() -> Path:
    """Return the file, where the XDG base directory specification wants state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "aeolus" / "chat_history"
