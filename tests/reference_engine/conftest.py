"""One engine and one oracle for each architecture, shared by the whole run."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from support.checkpoints import make_llama, make_mistral, make_stablelm
from support.engine_harness import Oracle, Served
from support.extended import extended_but

MAKERS: dict[str, Callable[[Path], Path]] = {
    "stablelm": make_stablelm,
    "stablelm-norm-parallel": partial(make_stablelm, norm_and_parallel=True),
    "mistral": make_mistral,
    "llama": make_llama,
}


def _serve(checkpoint: Path) -> Iterator[Served]:
    engine = ReferenceEngine(
        EngineConfig.resolve(checkpoint, max_batch_size=16, max_beam_width=4, dtype="float32")
    )
    yield Served(engine, Oracle(checkpoint))
    engine.shutdown()


@pytest.fixture(
    scope="session", params=extended_but(set(MAKERS) - {"stablelm-norm-parallel"}, MAKERS)
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Every architecture in turn."""
    yield from _serve(MAKERS[request.param](tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama checkpoint for tests in which the architecture does not matter."""
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def llama(checkpoint: Path) -> Iterator[Served]:
    """The engine for tests in which the architecture does not matter."""
    yield from _serve(checkpoint)
