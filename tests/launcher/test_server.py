"""A tritonserver starts, says why when it does not, and leaves nothing behind."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from launcher.ports import free_ports
from launcher.processes import family
from launcher.server import TritonServer, TritonStartError
from support.metrics import metric
from support.processes import left_after, processes_of, shared_memory
from support.triton_repositories import make_repository

pytestmark = pytest.mark.server

START_SECONDS = 300


def test_a_started_server_is_ready_and_a_stopped_one_leaves_nothing(tmp_path: Path) -> None:
    server = TritonServer(make_repository(tmp_path / "models"), tmp_path / "run", free_ports())
    with server:
        server.wait_until_ready(START_SECONDS)
        assert [each.name for each in family(server.pid)] == ["tritonserver", "echo"]
        guardian, *guarded = sorted(processes_of(tmp_path / "run"), key=lambda each: each.pid)
        assert guardian.name == "guardian"
        assert set(guarded) == set(family(server.pid))
        assert shared_memory(server.shared_memory_prefix) != []
        with urllib.request.urlopen(f"{server.http_url}/v2/models/echo/ready") as reply:
            assert reply.status == 200
        assert metric(server.metrics_url, "nv_inference_count_total", model="echo") == 0
    assert processes_of(tmp_path / "run") == []
    assert shared_memory(server.shared_memory_prefix) == []
    assert "echo" in server.log_path.read_text()


def test_a_stopped_server_can_be_started_again(tmp_path: Path) -> None:
    server = TritonServer(make_repository(tmp_path / "models"), tmp_path / "run", free_ports())
    for _ in range(2):
        with server:
            server.wait_until_ready(START_SECONDS)
            assert server.is_alive


def test_a_model_that_does_not_load_is_named_with_its_reason(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models", "raise ValueError('no wind today')")
    with TritonServer(repository, tmp_path / "run", free_ports()) as server:
        with pytest.raises(TritonStartError) as caught:
            server.wait_until_ready(START_SECONDS)
        assert "model 'echo': Internal: ValueError: no wind today" in str(caught.value)
        assert str(server.log_path) in str(caught.value)
        assert not server.is_alive
    assert processes_of(tmp_path / "run") == []
    assert shared_memory(server.shared_memory_prefix) == []


def test_a_configuration_that_does_not_parse_is_named(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models")
    (repository / "echo" / "config.pbtxt").write_text("max_batch_size: ${batch}")
    server = TritonServer(repository, tmp_path / "run", free_ports())
    with server, pytest.raises(TritonStartError, match=r"echo"):
        server.wait_until_ready(START_SECONDS)


def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models", "import time; time.sleep(30)")
    with TritonServer(repository, tmp_path / "run", free_ports()) as server:
        waits: list[float] = []
        with pytest.raises(TritonStartError, match="not ready after 3 s"):
            server.wait_until_ready(3, waits.append)
        assert 1 <= len(waits) <= 3
    assert processes_of(tmp_path / "run") == []


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_does_not_outlive_a_killed_parent(tmp_path: Path, kill: signal.Signals) -> None:
    repository = make_repository(tmp_path / "models")
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from launcher.ports import free_ports\n"
        "from launcher.server import TritonServer\n"
        "server = TritonServer(Path(sys.argv[1]), Path(sys.argv[2]), free_ports())\n"
        "server.start()\n"
        "server.wait_until_ready(300)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(repository), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(kill)
    assert left_after(tmp_path / "run", 120) == []
