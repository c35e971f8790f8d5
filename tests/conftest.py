"""The servers that the tests share: one tritonserver and one shim for the whole run."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.rehearsal import rehearsed_triton
from support.serving import serve_shim, wait_until_ready

# As the reference engine asks for; some tests import torch before they import the engine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


# What runs in the background of a script ignores SIGINT, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

# NiceGUI serves one application in a process; the tests of the chat page have one of their own.
os.environ.setdefault("AEOLUS_CHAT_PAGE", "false")

# How long an example takes is the machine's business.
settings.register_profile("aeolus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aeolus")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--runtime executor` lets every test of the shared server rehearse the executor."""
    parser.addoption("--runtime", choices=["reference", "executor"], default="reference")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what the executor does not serve where it is rehearsed."""
    if config.getoption("runtime") == "reference":
        return
    for item in items:
        if marker := item.get_closest_marker("not_on_executor"):
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))


@pytest.fixture(scope="session")
def triton(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    """A tritonserver on the committed model repository, as it stands; or with the executor."""
    directory = tmp_path_factory.mktemp("triton")
    if request.config.getoption("runtime") == "reference":
        with running_triton(COMMITTED.path, directory) as server:
            yield server
        return
    with rehearsed_triton(directory) as server:
        yield server


@pytest.fixture(scope="session")
def shim_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Base URL of the shim in front of `triton`, or of AEOLUS_TEST_URL; with all five models."""
    if url := os.environ.get("AEOLUS_TEST_URL"):
        yield url
        return
    with serve_shim(request.getfixturevalue("triton").grpc_address) as url:
        wait_until_ready(url)
        yield url
