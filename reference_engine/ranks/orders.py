"""What the leading rank sends to a following one; only `Start` is answered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_engine.ranks.rank import ModelSpec
from reference_engine.ranks.share import Rank


@dataclass(frozen=True, slots=True)
class Start:
    """Load the model, answer None or what is wrong; meet the other ranks, answer None."""

    spec: ModelSpec
    rank: Rank
    rendezvous: Path


@dataclass(frozen=True, slots=True)
class Call:
    """Call a method of `ModelRunner`."""

    method: str
    arguments: tuple[Any, ...]
