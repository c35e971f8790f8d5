"""The client finds the engine of an ensemble by what it is, wherever it stands."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest

from aeolus_client import GenerationFailedError, GenerationRequest, TritonClient
from build_engines.repository import ENGINE_STEP, ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.asking import QUESTION
from support.metrics import stopped_before

pytestmark = pytest.mark.server

TOKENS = 3500
PASSES_ON = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUT", pb_utils.get_input_tensor_by_name(each, "IN").as_numpy())]
            )
            for each in requests
        ]
"""
PASSING_ON = """
name: "passing_on"
backend: "python"
max_batch_size: 64
instance_group [{ count: 1 kind: KIND_CPU }]
input [{ name: "IN" data_type: TYPE_INT32 dims: [ -1, -1 ] }]
output [{ name: "OUT" data_type: TYPE_INT32 dims: [ -1, -1 ] }]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The committed steps, and ensembles of them that differ from the committed one."""
    path = tmp_path_factory.mktemp("ensembles") / "model_repository"
    repository = COMMITTED.copy_to(path)
    (path.parent / "demo").symlink_to(COMMITTED.path.parent / "demo")
    add_reordered(repository, "reordered")
    add_reordered(repository, "unnamed", engine_step="")
    add_reordered(repository, "misnamed", engine_step="postprocessing")
    add_fourth_step(repository)
    with running_triton(path, tmp_path_factory.mktemp("run")) as triton:
        yield triton


def add_reordered(repository: ModelRepository, name: str, engine_step: str | None = None) -> None:
    config = repository.read("ensemble")
    config.name = name
    scheduling = config.ensemble_scheduling
    steps = list(scheduling.step)
    del scheduling.step[:]
    scheduling.step.extend([steps[2], steps[0], steps[1]])
    if engine_step is not None:
        config.parameters[ENGINE_STEP].string_value = engine_step
    (repository.path / name / "1").mkdir(parents=True)
    repository.write(name, config)


def add_fourth_step(repository: ModelRepository) -> None:
    config = repository.read("ensemble")
    config.name = "four_steps"
    fourth = config.ensemble_scheduling.step.add(model_name="passing_on", model_version=-1)
    fourth.input_map["IN"] = "_output_ids"
    fourth.output_map["OUT"] = "_passed_on"
    config.ensemble_scheduling.step[2].input_map["TOKENS_BATCH"] = "_passed_on"
    (repository.path / "four_steps" / "1").mkdir(parents=True)
    repository.write("four_steps", config)
    version = repository.path / "passing_on" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(PASSES_ON)
    (version.parent / "config.pbtxt").write_text(PASSING_ON)


def long_request() -> GenerationRequest:
    return GenerationRequest(
        messages=QUESTION, max_tokens=TOKENS, min_tokens=TOKENS, end_ids=[0], stream=True
    )


@asynccontextmanager
async def connected(server: TritonServer, model: str) -> AsyncIterator[TritonClient]:
    client = TritonClient(server.grpc_address, model)
    try:
        yield client
    finally:
        await client.close()


async def leave_after_three_chunks(server: TritonServer, model: str) -> None:
    async with (
        connected(server, model) as client,
        aclosing(client.stream(long_request())) as chunks,
    ):
        for _ in range(3):
            await anext(chunks)


@pytest.mark.parametrize("model", ["ensemble", "reordered", "unnamed", "four_steps"])
def test_leaving_stops_the_engine_whatever_the_steps_order(
    server: TritonServer, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aeolus_client")
    with stopped_before(server, TOKENS):
        asyncio.run(leave_after_three_chunks(server, model))
    assert "was stopped in" in caplog.text


def test_a_stop_that_is_refused_is_reported(
    server: TritonServer, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(leave_after_three_chunks(server, "misnamed"))
    assert "cannot be stopped by model postprocessing" in caplog.text
    assert "was stopped" not in caplog.text


@pytest.mark.parametrize("model", ["reordered", "four_steps"])
def test_a_request_that_ends_by_itself_is_not_reported_as_stopped(
    server: TritonServer, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def complete() -> str:
        async with connected(server, model) as client:
            request = GenerationRequest(messages=QUESTION, max_tokens=64, stream=True)
            return (await client.complete(request)).text

    caplog.set_level(logging.INFO, "aeolus_client")
    assert "breeze" in asyncio.run(complete())
    assert "stopped" not in caplog.text


def test_a_model_that_is_no_such_ensemble_is_an_error(server: TritonServer) -> None:
    async def complete() -> None:
        async with connected(server, "passing_on") as client:
            await client.complete(GenerationRequest(messages=QUESTION, max_tokens=4))

    with pytest.raises(GenerationFailedError, match="no step of the ensemble takes"):
        asyncio.run(complete())


def test_the_committed_ensemble_names_its_engine() -> None:
    config = COMMITTED.read("ensemble")
    assert config.parameters[ENGINE_STEP].string_value == "tensorrt_llm"
