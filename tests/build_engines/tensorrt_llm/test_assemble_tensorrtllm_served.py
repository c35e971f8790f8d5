"""Deployments of each model on a real tritonserver: for the C++ backend with only its engine
exchanged, and for the reference engine. The executor's are in tests/executor_engine.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build_engines.tensorrt_llm.assemble import assemble, assemble_tensorrtllm
from catalog import load_catalog
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.catalog_checkpoints import make_checkpoint
from support.extended import CATALOG
from support.trtllm_engines import make_engine, use_reference_engine

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=CATALOG)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    directory = tmp_path_factory.mktemp("deployment")
    model = load_catalog()[request.param]
    checkpoint = make_checkpoint(directory / "checkpoint", model)
    engine = make_engine(directory / "engine", model, model.engine, checkpoint)
    repository = assemble_tensorrtllm(
        model, model.engine, engine, checkpoint, directory / "deployment", runtime="cpp"
    )
    use_reference_engine(repository, checkpoint)
    with running_triton(repository.path, directory / "run") as server:
        yield server


def ask(server: TritonServer, **inputs: object) -> dict[str, Any]:
    """Send a request to the ensemble; the reply, or the error, as JSON."""
    request = urllib.request.Request(
        f"{server.http_url}/v2/models/ensemble/generate_stream",
        data=json.dumps({"text_input": "Hello", "max_tokens": 8, **inputs}).encode(),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    reply: dict[str, Any] = json.loads(text.strip().removeprefix("data: "))
    return reply


def test_the_deployment_answers(server: TritonServer) -> None:
    reply = ask(server, id="answer")
    assert reply["text_output"]
    assert 1 <= reply["sequence_length"] <= 8


def test_a_beam_search_within_the_engines_width_answers(server: TritonServer) -> None:
    assert len(ask(server, id="beams", beam_width=4)["text_output"]) == 4


@pytest.mark.parametrize(
    "inputs",
    [
        {"beam_width": 5},
        {"beam_width": 2, "length_penalty": 2.0},
        {"beam_width": 2, "early_stopping": 0},
        {"no_repeat_ngram_size": 2},
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(
    server: TritonServer, inputs: dict[str, object]
) -> None:
    *_, name = inputs
    assert name in ask(server, id=f"refused-{name}", **inputs)["error"]


@pytest.mark.parametrize("name", CATALOG)
def test_a_deployment_of_a_checkpoint_answers(name: str, tmp_path: Path) -> None:
    model = load_catalog()[name]
    checkpoint = make_checkpoint(tmp_path / "checkpoint", model)
    repository = assemble(
        model, model.engine, None, checkpoint, tmp_path / "deployment", runtime="reference"
    )
    with running_triton(repository.path, tmp_path / "run") as server:
        assert ask(server, id="answer", no_repeat_ngram_size=2)["text_output"]
