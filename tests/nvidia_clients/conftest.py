"""What the suites of NVIDIA's clients share."""

from collections.abc import Iterator

import pytest

from build_engines.assemble import COMMITTED
from demo.export import CHECKPOINT
from launcher.ports import free_ports
from launcher.server import TritonServer

START_SECONDS = 300


@pytest.fixture(scope="session")
def whole_replies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose engine is not decoupled, for clients that read no stream."""
    directory = tmp_path_factory.mktemp("whole")
    repository = COMMITTED.copy_to(directory / "repository")
    for model in ("preprocessing", "postprocessing"):
        repository.set_parameters(model, {"tokenizer_dir": str(CHECKPOINT)})
    repository.set_parameters("tensorrt_llm", {"checkpoint_dir": str(CHECKPOINT)})
    config = repository.read("tensorrt_llm")
    config.model_transaction_policy.decoupled = False
    repository.write("tensorrt_llm", config)
    with TritonServer(repository.path, directory / "run", free_ports()) as server:
        server.wait_until_ready(START_SECONDS)
        yield server
