"""Where `prepare` keeps what it makes of a model, and that only one process makes it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalog import TENSORRT_LLM_VERSION, EnginePlan, ModelEntry


@dataclass(frozen=True, slots=True)
class EngineDirectories:
    """The directories of one model's engine for one kind of GPU.

    The disk may be shared by many machines; locks are advisory ones of its file system (flock).
    """

    root: Path
    """For all models."""
    model: str
    kind: str
    """Such as `a10g-tp1-none-1.2.1`: GPU, ranks, quantization, TensorRT-LLM, which all must fit."""

    @classmethod
    def of(cls, root: Path, model: ModelEntry, engine: EnginePlan) -> "EngineDirectories":
        """Return those of a plan."""
        parts = (engine.gpu.lower(), f"tp{engine.tp_size}", engine.quantization)
        return cls(root.resolve(), model.name, "-".join([*parts, TENSORRT_LLM_VERSION]))

    @property
    def checkpoint(self) -> Path:
        """The Hugging Face checkpoint, which all kinds of GPU share."""
        return self.root / self.model / "checkpoint"

    @property
    def converted(self) -> Path:
        """The TensorRT-LLM checkpoint; not needed once there is an engine."""
        return self.root / self.model / self.kind / "converted"

    @property
    def engine(self) -> Path:
        """The engine; appears under its name when it is complete."""
        return self.root / self.model / self.kind / "engine"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process prepares an engine of this model, then keep them waiting.

        Raises:
            OSError: the directory cannot be written.
        """
        directory = self.root / self.model
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
