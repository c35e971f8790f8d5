"""A service that cannot start says why in one line, at once, and leaves nothing behind."""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.ports import free_ports
from launcher.processes import family
from launcher.server import TritonServer, TritonStartError
from scripts.bench.service import serve_command
from support.deployments import write_engine
from support.processes import left_after, processes_of, shared_memory
from support.triton_repositories import make_repository

pytestmark = pytest.mark.server

MODEL = "mistral-7b"
START_FAULT_SECONDS = 60
"""For the slowest machine; it takes about two, of which most is Python's imports."""


def refusal(directory: Path, *more: str, before: Callable[[], None] | None = None) -> str:
    """Run the service from `directory` until it ends; return its only line on standard error."""
    done = subprocess.run(
        serve_command(free_ports().http, free_ports(), *more),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=START_FAULT_SECONDS,
        preexec_fn=before,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "loading models" not in done.stdout
    assert processes_of(directory) == []
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def checkpoint(directory: Path, **config: object) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text(
        json.dumps(
            {"architectures": ["MistralForCausalLM"], "max_position_embeddings": 128} | config
        )
    )
    return directory


def test_an_awq_checkpoint_is_refused_by_its_method(tmp_path: Path) -> None:
    awq = checkpoint(tmp_path / "awq", quantization_config={"quant_method": "awq", "bits": 4})
    line = refusal(tmp_path, "--model", MODEL, "--checkpoint", str(awq))
    assert "quantized by AWQ" in line
    assert "give the checkpoint that it was made from" in line


def test_an_engine_as_checkpoint_is_told_apart(tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "engine", 1)
    line = refusal(tmp_path, "--model", MODEL, "--checkpoint", str(engine))
    assert "a TensorRT-LLM engine, not a checkpoint" in line
    assert f"build_engines assemble {MODEL} --engine {engine}" in line


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("adapter_config.json", "a LoRA adapter without its model"),
        ("model.gguf", "a GGUF file for llama.cpp"),
        ("ensemble/config.pbtxt", "a Triton model repository; give it as REPOSITORY"),
    ],
)
def test_what_is_not_a_checkpoint_is_told_apart(tmp_path: Path, file: str, what: str) -> None:
    path = tmp_path / "given" / file
    path.parent.mkdir(parents=True)
    path.touch()
    assert what in refusal(tmp_path, "--model", MODEL, "--checkpoint", str(tmp_path / "given"))


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = refusal(tmp_path, "--model", MODEL, "--repository", str(tmp_path / "empty"))
    assert "an empty directory; give one that `python -m build_engines assemble`" in line


def test_the_directory_above_or_below_a_repository_is_told_where_it_is(tmp_path: Path) -> None:
    repository = tmp_path / "deployment" / "model_repository"
    COMMITTED.copy_to(repository)
    above = refusal(tmp_path, "--model", MODEL, "--repository", str(repository.parent))
    assert f"the repository is the directory in it: {repository}" in above
    below = refusal(tmp_path, "--model", MODEL, "--repository", str(repository / "ensemble"))
    assert f"give the directory above it: {repository}" in below


def test_a_foreign_repository_is_refused_with_what_it_has(tmp_path: Path) -> None:
    foreign = make_repository(tmp_path / "foreign")
    line = refusal(tmp_path, "--model", MODEL, "--repository", str(foreign))
    assert "a Triton model repository without ensemble; it has echo" in line


def test_an_engine_on_a_machine_without_gpus_is_refused(tmp_path: Path) -> None:
    repository = COMMITTED.copy_to(tmp_path / "models")
    config = repository.read("tensorrt_llm")
    config.backend = "tensorrtllm"
    engine = write_engine(tmp_path / "engine", 1)
    (engine / "rank0.engine").touch()
    config.parameters["gpt_model_path"].string_value = str(engine)
    repository.write("tensorrt_llm", config)
    done = subprocess.run(
        serve_command(
            free_ports().http, free_ports(), "--model", MODEL, "--repository", str(repository.path)
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs TensorRT-LLM 1.2.1" in done.stderr
    assert "needs 1 GPUs" in done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())


def test_too_few_open_files_are_refused_with_the_remedy(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))

    line = refusal(tmp_path, before=limit)
    assert "only 48 files may be open" in line
    assert "ulimit -n" in line


def test_a_run_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refusal(tmp_path, "--run-directory", str(tmp_path / "file"))
    assert "choose another run directory with --run-directory" in line


def test_a_host_that_is_not_an_address_is_refused(tmp_path: Path) -> None:
    line = refusal(tmp_path, "--host", "no.such.host.invalid")
    assert "no.such.host.invalid" in line


def test_a_dry_run_prints_the_command_and_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*serve_command(8000, free_ports()), "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=START_FAULT_SECONDS,
        check=True,
    )
    assert done.stdout.startswith("env ")
    assert f"tritonserver --model-repository={COMMITTED.path}" in done.stdout
    assert done.stderr == ""
    assert processes_of(tmp_path) == []


def test_the_reason_is_the_cause_and_not_what_is_logged_without_a_gpu(tmp_path: Path) -> None:
    server = TritonServer(make_repository(tmp_path / "models"), tmp_path / "run", free_ports())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(TritonStartError) as caught:
        server.wait_until_ready(START_FAULT_SECONDS)
    assert "Too many open files" in str(caught.value)
    assert "CUDA" not in str(caught.value)
    assert "NVML" not in str(caught.value)


def test_a_stub_that_dies_while_models_load_ends_the_start(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models", "import time; time.sleep(600)")
    server = TritonServer(repository, tmp_path / "run", free_ports())

    def kill_stub() -> None:
        while not (stubs := [each for each in family(server.pid) if each.model]):
            time.sleep(0.02)
        time.sleep(1)  # it is known by then which model it runs
        os.kill(stubs[0].pid, signal.SIGKILL)

    with server:
        threading.Thread(target=kill_stub, name="kill the stub").start()
        with pytest.raises(TritonStartError, match=r"model 'echo'"):
            server.wait_until_ready(START_FAULT_SECONDS)
    assert left_after(tmp_path / "run", 0) == []


def test_a_stub_that_cannot_start_ends_the_start_with_the_reason_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TritonServer, "_without_spaces", lambda _self, path, _name: path)
    server = TritonServer(make_repository(tmp_path / "models"), tmp_path / "a run", free_ports())
    with server, pytest.raises(TritonStartError, match="No such file or directory"):
        server.wait_until_ready(START_FAULT_SECONDS)
    assert processes_of(tmp_path) == []


def test_one_model_that_fails_ends_the_start_while_another_one_loads(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models", "raise ValueError('no wind today')")
    make_repository(repository, "import time; time.sleep(600)", name="slow")
    server = TritonServer(repository, tmp_path / "run", free_ports())
    with server, pytest.raises(TritonStartError, match=r"model 'echo'.*no wind today"):
        server.wait_until_ready(START_FAULT_SECONDS)
    assert processes_of(tmp_path / "run") == []


def test_paths_with_spaces_and_quotes_are_served(tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s a "path" $HOME'
    server = TritonServer(make_repository(odd / "models"), odd / "run", free_ports())
    with server:
        server.wait_until_ready(300)
        assert shared_memory(server.shared_memory_prefix) != []
    assert shared_memory(server.shared_memory_prefix) == []
