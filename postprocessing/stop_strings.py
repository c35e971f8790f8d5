"""Texts that end a reply, found across the borders of tokens and chunks."""

from collections.abc import Collection, Sequence


class StopStrings:
    """Looks for the stop strings in the text of one sequence as it comes.

    However the text is cut into chunks, it ends before the stop string that is complete first, or
    behind it where it is one of those that stay; of two that are complete at the same character,
    the longer counts.
    """

    def __init__(self, stop: Sequence[str], kept: Collection[str] = ()):
        """Look for any of `stop` and `kept`, none of them empty; the latter stay in the text."""
        self._stop = (*stop, *(each for each in kept if each not in stop))
        self._kept = frozenset(kept).difference(stop)
        self._inner_characters = frozenset("".join(each[:-1] for each in self._stop))
        self._held_back = ""
        self.matched: str | None = None
        """The stop string at which the text ended."""

    def push(self, text: str) -> str:
        """Take more text; return what can no longer be a part of a stop string."""
        if self.matched is not None:
            return ""
        text = self._held_back + text
        found = self._first_in(text)
        if found is not None:
            end, self.matched = found
            self._held_back = ""
            return text[:end]
        size = self._size_of_possible_prefix(text)
        self._held_back = text[len(text) - size :]
        return text[: len(text) - size]

    def at_end(self, text: str) -> str:
        """Return what is still to come if the sequence ends with `text`, which is not taken."""
        if self.matched is not None:
            return ""
        text = self._held_back + text
        found = self._first_in(text)
        return text if found is None else text[: found[0]]

    def _first_in(self, text: str) -> tuple[int, str] | None:
        """Return where the text ends, and at which stop string."""
        found = [(text.find(each), each) for each in self._stop if each in text]
        if not found:
            return None
        begin, first = min(found, key=lambda each: (each[0] + len(each[1]), each[0]))
        return (begin + len(first) if first in self._kept else begin), first

    def _size_of_possible_prefix(self, text: str) -> int:
        if not text or text[-1] not in self._inner_characters:
            return 0
        longest = max(len(each) for each in self._stop) - 1
        for size in range(min(longest, len(text)), 0, -1):
            end = text[len(text) - size :]
            if any(len(each) > size and each.startswith(end) for each in self._stop):
                return size
        return 0
