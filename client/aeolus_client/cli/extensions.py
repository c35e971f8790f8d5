"""Commands that other distributions add to `aeolus`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

GROUP = "aeolus.commands"


@dataclass(frozen=True, slots=True)
class Extension:
    """One command; its module is imported when it is described or run."""

    entry_point: EntryPoint

    @property
    def summary(self) -> str:
        """One line for `aeolus --help`: the first of the function's docstring."""
        try:
            return (self._function().__doc__ or "").strip().partition("\n")[0]
        except ImportError as error:
            return f"Cannot be loaded: {error}."

    def run(self, arguments: list[str]) -> int:
        """Run it with the arguments behind its name; returns the exit code."""
        return self._function()(arguments)

    def _function(self) -> Callable[[list[str]], int]:
        function: Callable[[list[str]], int] = self.entry_point.load()
        return function


def extensions() -> dict[str, Extension]:
    """Return what is installed, by name."""
    return {each.name: Extension(each) for each in entry_points(group=GROUP)}
