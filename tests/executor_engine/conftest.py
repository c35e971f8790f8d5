"""An executor engine on the stand-in, and transformers on the same checkpoint."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine_step.interface import Engine
from executor_engine.step import open_engine
from support.checkpoints import make_llama
from support.engine_harness import Oracle
from support.rehearsal import write_executor_engine

Open = Callable[..., Engine]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def oracle(checkpoint: Path) -> Oracle:
    return Oracle(checkpoint)


def vocab_size(checkpoint: Path) -> int:
    size: int = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    return size


def parameters(directory: Path, **more: str) -> dict[str, str]:
    return {"gpt_model_path": str(directory), "max_beam_width": "4", **more}


@pytest.fixture
def opened(checkpoint: Path, tmp_path: Path) -> Iterator[Open]:
    """Open an engine of its own: limits of the engine, then parameters of the step as text."""
    engines: list[Engine] = []

    def open_one(model: dict[str, Any] | None = None, **more: int | str) -> Engine:
        limits = {name: value for name, value in more.items() if isinstance(value, int)}
        texts = {name: value for name, value in more.items() if isinstance(value, str)}
        directory = write_executor_engine(
            tmp_path / f"engine{len(engines)}",
            {"checkpoint": str(checkpoint), **(model or {})},
            vocab_size=vocab_size(checkpoint),
            **limits,
        )
        engines.append(open_engine(parameters(directory, **texts), tmp_path))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.shutdown()


@pytest.fixture(scope="session")
def engine(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for the tests that leave it as it was."""
    directory = write_executor_engine(
        tmp_path_factory.mktemp("engines") / "engine",
        {"checkpoint": str(checkpoint)},
        vocab_size=vocab_size(checkpoint),
    )
    engine = open_engine(parameters(directory), directory)
    yield engine
    engine.shutdown()
