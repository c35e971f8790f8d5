"""Whatever ends or is killed, the service recovers or ends, and leaves nothing behind.

Each row is a signal or a death, of one process, with one tritonserver or with two ranks under a
real mpirun: the shape of Llama 2 70B, where rank 0 serves and rank 1 loads only the engine.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED, assemble_reference
from catalog import load_catalog
from launcher.ports import TritonPorts, free_ports, require_free
from launcher.processes import Process, family, running_processes
from launcher.server import SHARED_MEMORY
from scripts.bench.service import serve_command
from support.deployments import write_engine
from support.extended import extended
from support.processes import shared_memory_prefix

MODEL = "llama-2-70b"
START_SECONDS = 300
END_SECONDS = 60
ROW = "FAULT_ROW"
"""Environment variable that everything of one row inherits."""
BODY = {"prompt": "What is a zephyr?", "max_new_tokens": 4, "num_beams": 1}

pytestmark = pytest.mark.server


@dataclass(frozen=True, slots=True)
class Row:
    """A service, and how to find everything that belongs to it."""

    process: subprocess.Popen[str]
    run_directory: Path
    ports: tuple[int, TritonPorts]
    row: str
    seen_prefixes: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def line(self, beginning: str) -> str:
        assert self.process.stdout is not None
        return next(each for each in self.process.stdout if each.startswith(beginning))

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.status() != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.seen_prefixes.add(shared_memory_prefix(self.run_directory))

    def status(self) -> int:
        return httpx.get(f"{self.url}/health/ready", timeout=30).status_code

    def find(self, name: str, rank: int | None = None) -> Process:
        (found,) = (
            each
            for each in family(self.process.pid)
            if each.name == name and (rank is None or each.rank == rank)
        )
        return found

    def processes(self) -> list[Process]:
        return [each for each in running_processes() if each.environment().get(ROW) == self.row]

    def assert_nothing_is_left(self) -> None:
        deadline = time.monotonic() + END_SECONDS
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        for prefix in self.seen_prefixes:
            assert list(SHARED_MEMORY.glob(f"{prefix}*")) == []
        port, triton = self.ports
        for each in (port, triton.grpc, triton.http, triton.metrics):
            require_free("127.0.0.1", each, "PORT")


def repository(directory: Path, world_size: int) -> ModelRepository:
    """The reference engine; with two ranks also an engine's config.json that names them."""
    if world_size > 1 and shutil.which("mpirun") is None:
        pytest.skip("needs mpirun (Debian: openmpi-bin)")
    made = assemble_reference(
        load_catalog()[MODEL],
        COMMITTED.path.parent / "demo" / "checkpoint",
        directory / "models",
    )
    if world_size > 1:
        engine = write_engine(directory / "engine", world_size)
        config = made.read("tensorrt_llm")
        config.parameters["gpt_model_path"].string_value = str(engine)
        made.write("tensorrt_llm", config)
    return made


@contextmanager
def service(directory: Path, models: ModelRepository) -> Iterator[Row]:
    """Start a service, which may not be ready yet; nothing of it outlives the context."""
    port, triton = free_ports().http, free_ports()
    row = uuid.uuid4().hex
    with subprocess.Popen(
        serve_command(port, triton, "--model", MODEL, "--repository", str(models.path)),
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=(directory / "serve.log").open("w"),
        text=True,
        env=os.environ | {ROW: row},
    ) as process:
        started = Row(process, directory, (port, triton), row)
        try:
            yield started
        finally:
            for each in started.processes():
                each.kill()


def report(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{line}")


@pytest.mark.parametrize(
    ("world_size", "killed", "rank"),
    [
        (1, "tensorrt_llm", 0),
        (2, "main process", None),
        (2, "rank", 1),
        *extended(
            (1, "main process", None),
            (1, "preprocessing", 0),
            (1, "guardian", None),
            (2, "rank", 0),
            (2, "tensorrt_llm", 0),
            (2, "tensorrt_llm", 1),
            (2, "preprocessing", 0),
            (2, "guardian", None),
        ),
    ],
)
def test_a_killed_process_is_reported_and_the_service_recovers_and_ends(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    world_size: int,
    killed: str,
    rank: int | None,
) -> None:
    with service(tmp_path, repository(tmp_path, world_size)) as row:
        row.line("ready: ")
        row.wait_until_ready()
        name = {"main process": "mpirun" if world_size > 1 else "tritonserver"}.get(killed, killed)
        victim = row.find(
            "tritonserver" if name == "rank" else name, rank if world_size > 1 else None
        )
        before = {each.pid for each in row.processes()}
        os.kill(victim.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        while row.status() == 200:
            assert time.monotonic() < killed_at + START_SECONDS
            time.sleep(0.02)
        row.wait_until_ready()
        report(
            capsys,
            f"TP={world_size}, {killed} {'' if rank is None else rank} killed: "
            f"ready again after {time.monotonic() - killed_at:.1f} s",
        )
        assert before & {each.pid for each in row.processes()} == {row.process.pid}
        reply = httpx.post(f"{row.url}/predict", json=BODY, timeout=60)
        assert reply.status_code == 200, reply.text
        row.process.send_signal(signal.SIGTERM)
        assert row.process.wait(END_SECONDS) == 0
        row.assert_nothing_is_left()
    log = (tmp_path / "serve.log").read_text()
    assert REPORTS[world_size, killed].format(rank=rank) in log


REPORTS = {
    (1, "main process"): "tritonserver was ended by SIGKILL",
    (2, "main process"): "mpirun was ended by SIGKILL",
    (2, "rank"): "rank {rank} was ended by SIGKILL",
    (1, "preprocessing"): "the process of model 'preprocessing' has ended",
    (2, "preprocessing"): "the process of model 'preprocessing' of rank {rank} has ended",
    (1, "tensorrt_llm"): "the process of model 'tensorrt_llm' has ended",
    (2, "tensorrt_llm"): "the process of model 'tensorrt_llm' of rank {rank} has ended",
    (1, "guardian"): "the guardian of tritonserver was ended by SIGKILL",
    (2, "guardian"): "the guardian of mpirun was ended by SIGKILL",
}


@pytest.mark.parametrize(
    ("world_size", "signals", "status"),
    [
        (2, [signal.SIGTERM], 0),
        (1, [signal.SIGKILL], -signal.SIGKILL),
        *extended(
            (1, [signal.SIGTERM], 0),
            (2, [signal.SIGKILL], -signal.SIGKILL),
            (1, [signal.SIGINT], 0),
            (2, [signal.SIGINT], 0),
            (1, [signal.SIGINT, signal.SIGINT], 0),
            (2, [signal.SIGINT, signal.SIGINT], 0),
        ),
    ],
)
def test_a_signal_to_the_main_program_ends_everything(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    world_size: int,
    signals: list[signal.Signals],
    status: int,
) -> None:
    with service(tmp_path, repository(tmp_path, world_size)) as row:
        row.line("ready: ")
        row.wait_until_ready()
        begun = time.monotonic()
        for each in signals:
            row.process.send_signal(each)
            time.sleep(0.3)
        assert row.process.wait(END_SECONDS) == status
        row.assert_nothing_is_left()
        report(
            capsys,
            f"TP={world_size}, {' '.join(each.name for each in signals)}: "
            f"gone after {time.monotonic() - begun:.1f} s",
        )


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGINT, signal.SIGINT],
        *extended(([signal.SIGTERM],), ([signal.SIGKILL],)),
    ],
)
def test_a_signal_while_models_load_ends_everything(
    tmp_path: Path, world_size: int, signals: list[signal.Signals]
) -> None:
    with service(tmp_path, repository(tmp_path, world_size)) as row:
        row.line("loading models")
        while not any(each.model for each in row.processes()):
            time.sleep(0.02)
        row.seen_prefixes.add(shared_memory_prefix(tmp_path))
        for each in signals:
            row.process.send_signal(each)
            time.sleep(0.1)
        row.process.wait(END_SECONDS)
        row.assert_nothing_is_left()


@pytest.mark.parametrize("world_size", [1, *extended((2,))])
def test_a_model_that_does_not_load_ends_everything(tmp_path: Path, world_size: int) -> None:
    models = repository(tmp_path, world_size)
    models.set_parameters("tensorrt_llm", {"checkpoint_dir": str(tmp_path / "nowhere")})
    with service(tmp_path, models) as row:
        assert row.process.wait(END_SECONDS) == 1
        row.assert_nothing_is_left()
    log = (tmp_path / "serve.log").read_text()
    assert "model 'tensorrt_llm'" in log
    assert "nowhere" in log
