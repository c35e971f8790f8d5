"""The ways to serve one model that `engine.py` compares.

Each is loaded by name, in a process of its own, with a Python that may have nothing else installed:
hence the imports inside the functions.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.own_venv import OwnVenv

Prompts = list[list[int]]
Serve = Callable[[Prompts, int], None]
"""Continues every prompt by exactly that many tokens; returns when all are done."""


@dataclass(frozen=True)
class System:
    """A way to serve a model, and what it needs for that."""

    load: Callable[[Path, str], Serve]
    """From the directory of a checkpoint and a dtype."""
    venv: OwnVenv | None = None
    dtypes: Sequence[str] = ()
    """What it has instead of the dtypes that are asked for."""
    convert: Callable[[Path], Path] | None = None
    """Writes the model in its own format; returns where."""

    @property
    def python(self) -> str:
        """The Python that loads it."""
        return self.venv.program("python") if self.venv else sys.executable

    def prepare(self, model: Path) -> Path:
        """Install it and convert the model; CalledProcessError if that fails.

        Returns:
            The model as it loads it.
        """
        if self.venv:
            self.venv.install()
        return self.convert(model) if self.convert else model
