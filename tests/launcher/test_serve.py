"""`make serve` as a process: ready line, clean ends, clear refusals."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from launcher.ports import free_ports
from scripts.bench.service import serve_command
from support.extended import extended
from support.processes import (
    left_after,
    process_of,
    processes_of,
    shared_memory,
    shared_memory_prefix,
)

pytestmark = pytest.mark.server

START_SECONDS = 300
STOP_SECONDS = 120
TIMEOUT = 60
PROCESSES = {"guardian", "tritonserver", "preprocessing", "tensorrt_llm", "postprocessing"}
QUESTION = {"messages": [{"role": "user", "content": "What is a zephyr?"}], "stream": False}


def command(*more: str) -> list[str]:
    return serve_command(free_ports().http, free_ports(), *more)


def run_to_its_end(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*more),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


@contextmanager
def serving(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve from `directory`; yields the process and the URL of its ready line."""
    with subprocess.Popen(command(), cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = next(line for line in process.stdout if line.startswith("ready: "))
            yield process, ready.removeprefix("ready: ").strip()
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, *extended((signal.SIGINT,))])
def test_it_serves_until_told_to_stop_and_leaves_nothing(
    tmp_path: Path, stop: signal.Signals
) -> None:
    with serving(tmp_path) as (process, url):
        assert {each.name for each in processes_of(tmp_path)} == PROCESSES
        prefix = shared_memory_prefix(tmp_path)
        assert shared_memory(prefix) != []
        assert httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200
        process.send_signal(stop)
        assert process.wait(STOP_SECONDS) == 0
    assert processes_of(tmp_path) == []
    assert shared_memory(prefix) == []


def test_it_can_be_stopped_while_models_load(tmp_path: Path) -> None:
    with subprocess.Popen(command(), cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("loading models")
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("lost", ["tritonserver", *extended(("tensorrt_llm",))])
def test_a_tritonserver_that_breaks_is_started_again(tmp_path: Path, lost: str) -> None:
    with serving(tmp_path) as (process, url):
        os.kill(process_of(tmp_path, lost), signal.SIGKILL)
        while httpx.get(f"{url}/health/ready", timeout=TIMEOUT).status_code == 200:
            time.sleep(0.02)
        reply = httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT)
        assert reply.status_code == 503
        assert "retry-after" in reply.headers
        deadline = time.monotonic() + START_SECONDS
        while httpx.get(f"{url}/health/ready", timeout=TIMEOUT).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    assert processes_of(tmp_path) == []


def test_a_taken_port_is_refused_by_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run_to_its_end(tmp_path, "--triton-http-port", port)
    assert done.returncode == 1
    assert f"TRITON_HTTP_PORT={port} cannot be used" in done.stderr
    assert processes_of(tmp_path) == []


def test_a_checkpoint_that_does_not_load_is_named_with_model_and_reason(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(
        json.dumps({"architectures": ["MistralForCausalLM"], "max_position_embeddings": 128})
    )
    done = run_to_its_end(tmp_path, "--model", "mistral-7b", "--checkpoint", str(checkpoint))
    assert done.returncode == 1
    assert "tritonserver did not start: model '" in done.stderr
    assert str(checkpoint) in done.stderr
    assert "Traceback" not in done.stderr
    assert left_after(tmp_path, 30) == []


def test_a_directory_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, "--model", "mistral-7b", "--checkpoint", str(tmp_path))
    assert done.returncode == 1
    assert "config.json: not a Hugging Face checkpoint" in done.stderr


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--model", "mistral-8b"], "invalid choice: 'mistral-8b'"),
        (["--checkpoint", "."], "--checkpoint needs --model"),
        (["--repository", "."], "--repository needs --model"),
        (["--tp", "2"], "--tp and --tokenizer are of a --checkpoint"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path: Path, more: list[str], reason: str) -> None:
    done = run_to_its_end(tmp_path, *more)
    assert done.returncode == 2
    assert reason in done.stderr
