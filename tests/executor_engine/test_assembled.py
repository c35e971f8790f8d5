"""What `assemble` writes for each model loads, and serves every parameter of the model's README.

The checkpoint is a small one of the model's architecture, the executor the stand-in's. Llama 2 70B,
whose plan has two ranks, is in test_two_ranks.py.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from build_engines.__main__ import main
from build_engines.repository import ModelRepository
from catalog import ModelEntry, load_catalog
from scripts.bench.service import running_triton
from support.catalog_checkpoints import make_checkpoint
from support.extended import extended_but
from support.readme_parameters import README_PARAMETERS, question_of
from support.rehearsal import install_stand_in, write_ranks
from support.serving import serve_shim, wait_until_ready
from support.trtllm_engines import make_engine

pytestmark = pytest.mark.server

MODELS = [name for name, each in load_catalog().items() if each.engine.tp_size == 1]


@pytest.fixture(scope="module", params=extended_but({"stablelm-zephyr-3b"}, MODELS))
def model(request: pytest.FixtureRequest) -> ModelEntry:
    entry: ModelEntry = load_catalog()[request.param]
    return entry


@pytest.fixture(scope="module")
def url(model: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shim in front of the deployment that the command line writes; its runtime is default."""
    directory = tmp_path_factory.mktemp(model.name)
    checkpoint = make_checkpoint(directory / "checkpoint", model)
    engine = make_engine(directory / "engine", model, model.engine, checkpoint)
    write_ranks(engine, {"checkpoint": str(checkpoint)}, model.engine.tp_size)
    output = directory / "deployment"
    paths = ["--engine", engine, "--checkpoint", checkpoint, "--output", output]
    assert main(["assemble", model.name, *map(str, paths)]) == 0
    repository = ModelRepository(output / "model_repository")
    install_stand_in(repository)
    with (
        running_triton(repository.path, directory / "run") as server,
        serve_shim(server.grpc_address, [model.name]) as url,
    ):
        wait_until_ready(url)
        yield url


def test_every_parameter_of_the_readme_is_served(model: ModelEntry, url: str) -> None:
    for name, value in README_PARAMETERS[model.name].items():
        path, body = question_of(model, name, value)
        assert_served(url, path, body)


def assert_served(url: str, path: str, body: dict[str, Any]) -> None:
    reply = httpx.post(f"{url}{path}", json=body, timeout=120)
    assert reply.status_code == 200, (body, reply.text)
    assert reply.text, body
