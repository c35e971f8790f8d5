"""What the wheels hold and need, and that they work where there is no checkout."""

import json
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import httpx
import pytest

from launcher.ports import free_ports
from support.environments import Environment
from support.processes import left_after

pytestmark = pytest.mark.slow

SECONDS = 300
STREAMING = """
import json, sys
import aeolus_client
with aeolus_client.Client(sys.argv[1]) as client:
    chunks = client.stream("What is a zephyr?", max_tokens=20, do_sample=False)
    texts = [chunk.text for chunk in chunks]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"texts": texts, "file": aeolus_client.__file__, "modules": modules}))
"""
NOT_OF_THE_CLIENT = {
    *("fastapi", "pydantic", "torch", "transformers", "typer", "uvicorn"),
    *("build_engines", "catalog", "launcher", "shim"),
}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def needed(wheel: Path) -> set[str]:
    """What is installed with a wheel when no extra is asked for."""
    (metadata,) = (name for name in names(wheel) if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        message = Parser().parsestr(archive.read(metadata).decode())
    return {each for each in message.get_all("Requires-Dist", []) if "extra ==" not in each}


def test_the_client_needs_three_packages(wheels: dict[str, Path]) -> None:
    assert needed(wheels["aeolus_client"]) == {"httpx", "numpy", "tritonclient[grpc]"}


def test_the_server_needs_by_itself_only_what_plans_and_conversions_need(
    wheels: dict[str, Path],
) -> None:
    assert needed(wheels["aeolus"]) == {
        *("aeolus-client", "ml_dtypes", "numpy", "protobuf", "pydantic"),
    }


def test_the_wheels_hold_their_rooms_and_no_file_twice(wheels: dict[str, Path]) -> None:
    client, server = names(wheels["aeolus_client"]), names(wheels["aeolus"])
    assert {"aeolus_client/py.typed", "aeolus_client/cli/chat.py"} <= client
    assert {each.partition("/")[0] for each in client if "dist-info" not in each} == {
        "aeolus_client",
        "aeolus_contract",
    }
    assert not {each for each in client & server if "dist-info" not in each}
    assert {
        "model_repository/ensemble/config.pbtxt",
        "model_repository/ensemble/1/.gitkeep",
        "model_repository/tensorrt_llm/1/model.py",
        "catalog/mistral-7b.toml",
        "demo/checkpoint/model.safetensors",
    } <= server


def test_the_wheel_holds_the_demo_without_its_training(wheels: dict[str, Path]) -> None:
    demo = {each for each in names(wheels["aeolus"]) if each.startswith("demo/")}
    assert {each.rpartition("/")[0] for each in demo} == {"demo/checkpoint"}


@pytest.mark.server
def test_the_client_streams_without_the_rest(
    wheels: dict[str, Path], shim_url: str, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "env", [wheels["aeolus_client"]])
    done = subprocess.run(
        [environment.bin / "python", "-I", "-c", STREAMING, shim_url],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["texts"]) > 2
    assert "zephyr" in "".join(seen["texts"])
    assert seen["file"].startswith(str(tmp_path))
    assert NOT_OF_THE_CLIENT & set(seen["modules"]) == set()
    asked = subprocess.run(
        [environment.bin / "aeolus", "ask", "What is a zephyr?", "--url", shim_url],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip()


@pytest.mark.server
def test_the_wheels_serve_from_any_directory(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env", list(wheels.values()))
    ports = free_ports()
    port = free_ports().http
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    command = [
        *(str(environment.bin / "aeolus"), "serve", "--port", str(port)),
        *("--triton-grpc-port", str(ports.grpc), "--triton-http-port", str(ports.http)),
        *("--triton-metrics-port", str(ports.metrics)),
    ]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            while not (lines and lines[-1].startswith("ready: ")):
                lines.append(process.stdout.readline())
                assert lines[-1], "".join(lines)
            body = {"prompt": "What is the meaning of life?", "max_new_tokens": 16}
            url = f"http://127.0.0.1:{port}/model_versions/mistral-7b/predict"
            reply = httpx.post(url, json=body, timeout=SECONDS)
            assert reply.status_code == 200
            assert reply.json().startswith("What is the meaning of life?")
        finally:
            process.terminate()
            process.wait(SECONDS)
    assert process.returncode == 0
    assert not left_after(directory, SECONDS)
