"""Llama 2 70B's shape: two ranks under a real mpirun, the executor in leader mode."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from build_engines.tensorrt_llm.assemble import assemble
from catalog import load_catalog
from launcher.deployment import read_deployment
from launcher.ports import free_ports
from launcher.processes import family
from launcher.server import TritonServer
from launcher.supervisor import Supervisor
from support.engine_harness import Oracle
from support.engine_tensors import ask, question
from support.processes import left_after
from support.readme_parameters import README_PARAMETERS, question_of
from support.rehearsal import DEMO, install_stand_in, write_ranks
from support.serving import serve_shim, shim_server, wait_until_ready
from support.trtllm_engines import make_engine

MODEL = "llama-2-70b"
PROMPT = [5, 6, 7, 8]
START_SECONDS = 300
BODY = {"prompt": "What is a zephyr?", "max_new_tokens": 4}

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun (Debian: openmpi-bin)"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[TritonServer]:
    """What `assemble` writes for the catalog's plan, on two ranks."""
    model = load_catalog()[MODEL]
    engine = make_engine(directory / "engine", model, model.engine, DEMO)
    write_ranks(engine, {"checkpoint": str(DEMO)}, model.engine.tp_size)
    repository = assemble(
        model, model.engine, engine, DEMO, directory / "deployment", runtime="executor"
    )
    install_stand_in(repository)
    deployment = read_deployment(repository, ["ensemble"])
    server = TritonServer(repository.path, directory / "run", free_ports(), deployment)
    server.start()
    try:
        server.wait_until_ready(START_SECONDS)
        yield server
    finally:
        server.stop()


@contextmanager
def supervised(server: TritonServer) -> Iterator[str]:
    """Watch the server as the launcher does; yields the shim's URL."""
    with shim_server(server.grpc_address, [MODEL]) as (shim, url):
        supervisor = Supervisor(server, shim.stop)
        supervisor.start()
        wait_until_ready(url)
        yield url
        supervisor.stop()


def ranks_of(server: TritonServer) -> list[int]:
    """The ranks whose engine step runs."""
    return sorted(each.rank or 0 for each in family(server.pid) if each.model == "tensorrt_llm")


def test_the_leader_serves_what_transformers_says(server: TritonServer) -> None:
    deadline = time.monotonic() + 60
    while ranks_of(server) != [0, 1] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ranks_of(server) == [0, 1]
    (reply,) = ask(server, question(PROMPT, 12))
    assert reply.beams == Oracle(DEMO).generate(PROMPT, 12, do_sample=False)


def test_every_parameter_of_the_readme_is_served(server: TritonServer) -> None:
    with serve_shim(server.grpc_address, [MODEL]) as url:
        wait_until_ready(url)
        for name, value in README_PARAMETERS[MODEL].items():
            path, body = question_of(load_catalog()[MODEL], name, value)
            reply = httpx.post(f"{url}{path}", json=body, timeout=120)
            assert reply.status_code == 200, (body, reply.text)


def test_an_engine_that_dies_is_started_again_with_all_its_ranks(
    server: TritonServer, directory: Path
) -> None:
    error = directory / "engine" / "forward_error"
    with supervised(server) as url:
        error.write_text("CUDA error: unspecified launch failure")
        assert httpx.post(f"{url}/predict", json=BODY, timeout=60).status_code >= 500
        deadline = time.monotonic() + START_SECONDS
        while httpx.get(f"{url}/health/ready", timeout=30).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        error.unlink()
        wait_until_ready(url, START_SECONDS)
        assert httpx.post(f"{url}/predict", json=BODY, timeout=60).status_code == 200


def test_a_stop_ends_every_rank(server: TritonServer, directory: Path) -> None:
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 30
    assert left_after(directory / "run", 10) == []
