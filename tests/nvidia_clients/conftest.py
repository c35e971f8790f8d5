"""What the suites of NVIDIA's clients share."""

from collections.abc import Iterator

import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from demo.export import CHECKPOINT
from launcher.server import TritonServer
from scripts.bench.service import running_triton


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
    with running_triton(repository.path, directory / "run") as server:
        yield server
