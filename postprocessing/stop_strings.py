"""Texts that end a reply, found across the borders of tokens and chunks and cut from it."""

from collections.abc import Sequence


class StopStrings:
    """Looks for the stop strings in the text of one sequence as it comes.

    However the text is cut into chunks, it ends before the stop string that is complete first; of
    two that are complete at the same character, before the longer.
    """

    def __init__(self, stop: Sequence[str]):
        """Look for any of `stop`, none of which is empty."""
        self._stop = stop
        self._inner_characters = frozenset("".join(each[:-1] for each in stop))
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
            begin, self.matched = found
            self._held_back = ""
            return text[:begin]
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
        """Return where the stop string that is complete first begins, and which it is."""
        found = [(text.find(each), each) for each in self._stop if each in text]
        return min(found, key=lambda each: (each[0] + len(each[1]), each[0]), default=None)

    def _size_of_possible_prefix(self, text: str) -> int:
        if not text or text[-1] not in self._inner_characters:
            return 0
        longest = max(len(each) for each in self._stop) - 1
        for size in range(min(longest, len(text)), 0, -1):
            end = text[len(text) - size :]
            if any(len(each) > size and each.startswith(end) for each in self._stop):
                return size
        return 0
