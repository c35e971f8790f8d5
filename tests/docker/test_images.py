"""Rehearsal of the images: built from their Dockerfiles, and doing what README does with them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from catalog import load_catalog
from launcher.ports import free_ports
from launcher.processes import Process, family
from support.hub import Hub
from support.hub import serve as serve_hub
from support.images import (
    ROOT,
    Container,
    Image,
    build,
    build_debian,
    container,
    copy_of_checkout,
    missing,
)
from support.nvidia_tools import A10G, A100_80, TRTLLM_BUILD

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(missing() is not None, reason=f"the rehearsal {missing()}"),
]

DEMO = ROOT / "demo" / "checkpoint"
NVIDIA_BASE = Path(__file__).parent / "nvidia_base"
READY_SECONDS, STOP_SECONDS = 300, 60
SHELL = ["/bin/sh", "-ec"]
QUESTION = {"prompt": "What is a zephyr?", "max_new_tokens": 32}
ANYBODY = {"AEOLUS_ALLOW_ANONYMOUS": "true"}


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with the base of the images ready."""
    build_debian(tmp_path_factory.mktemp("base"))
    return copy_of_checkout(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def cpu_image(context: Path) -> Image:
    return built("localhost/aeolus-cpu", context, "cpu")


@pytest.fixture(scope="session")
def shim_image(context: Path) -> Image:
    return built("localhost/aeolus-shim", context, "shim")


@pytest.fixture(scope="session")
def serving_image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    base = "nvidia-base:local"
    build(
        f"localhost/{base}",
        NVIDIA_BASE / "Dockerfile",
        write_nvidia_base(tmp_path_factory.mktemp("nvidia")),
    )
    return built("localhost/aeolus", context, "serving", BASE=base)


def built(name: str, context: Path, kind: str, **arguments: str) -> Image:
    build(
        name, context / "docker" / f"{kind}.Dockerfile", context, REGISTRY="localhost/", **arguments
    )
    image = Image.read(name)
    print(f"{name}: {image.megabytes:.0f} MB")  # noqa: T201 - `make images` shows it
    return image


def write_nvidia_base(directory: Path) -> Path:
    """Write the context of the base that is laid out like NVIDIA's."""
    packages, programs = directory / "packages", directory / "programs"
    stand_ins = ROOT / "tests" / "stand_ins"
    packages.mkdir()
    programs.mkdir()
    (directory / "constraints.txt").write_text((ROOT / "constraints.txt").read_text())
    (packages / "pynvml.py").write_text((NVIDIA_BASE / "pynvml.py").read_text())
    for name, version in (("tensorrt_llm", "1.2.1"), ("nvidia_ml_py", "13.615.71")):
        metadata = packages / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path in stand_ins.rglob("*"):
        if path.suffix in {".py", ".json"}:
            (packages / path.relative_to(stand_ins)).parent.mkdir(parents=True, exist_ok=True)
            (packages / path.relative_to(stand_ins)).write_bytes(path.read_bytes())
    # The stand-in for the executor computes with the checkpoint that the plan names.
    plan = 'json.dumps({"checkpoint": str(output.parents[1] / "checkpoint")}).encode()'
    programs_text = {
        "trtllm-build": TRTLLM_BUILD.replace('b"plan"', plan),
        "nvidia-smi": 'import os; print(os.environ["STAND_IN_SMI"])',
    }
    for name, text in programs_text.items():
        (programs / name).write_text(f"#!/opt/venv-tritonserver/bin/python\n{text}")
        (programs / name).chmod(0o755)
    return directory


def is_aeolus(process: Process) -> bool:
    """Whether it is the command itself, and not buildah's process above it."""
    return Path(process.command[0]).name == "python3" and "/aeolus" in "".join(process.command[1:2])


@contextmanager
def served(box: Container, command: list[str], **environment: str) -> Iterator[str]:
    """Serve by a command until its SIGTERM, which must end it with nothing left; yields the URL."""
    ports, port = free_ports(), free_ports().http
    options = [
        f"--port={port}",
        f"--triton-grpc-port={ports.grpc}",
        f"--triton-http-port={ports.http}",
        f"--triton-metrics-port={ports.metrics}",
    ]
    if command[:2] == SHELL:
        command = [*SHELL, f"{command[2].rstrip()} {' '.join(options)}"]
    else:
        command = [*command, *options]
    with box.start(command, AEOLUS_PORT=str(port), **ANYBODY, **environment) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready: "):
                break
        else:
            pytest.fail("".join(lines[-30:]))
        members = family(process.pid)
        launcher = next(each for each in members if is_aeolus(each))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.kill(launcher.pid, signal.SIGTERM)
            output = process.communicate(timeout=STOP_SECONDS)[0]
        assert process.returncode == 0, output
        assert [each for each in members if each.is_running] == []


def test_the_cpu_image_serves_the_readmes_requests(cpu_image: Image) -> None:
    with (
        container(cpu_image) as box,
        served(box, cpu_image.command) as url,
    ):
        environment = os.environ | {"AEOLUS_TEST_URL": url}
        requests = ROOT / "tests" / "shim" / "families" / "truss" / "test_readme_requests.py"
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", requests],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout
        check = cpu_image.config["Healthcheck"]["Test"]
        assert check[0] == "CMD"
        box.run(check[1:], AEOLUS_PORT=url.rpartition(":")[2])


def test_a_container_that_does_not_serve_is_not_healthy(cpu_image: Image) -> None:
    port = str(free_ports().http)
    with (
        container(cpu_image) as box,
        box.start(cpu_image.config["Healthcheck"]["Test"][1:], AEOLUS_PORT=port) as process,
    ):
        assert "refused" in process.communicate()[0]
    assert process.returncode == 1


def test_nobody_is_served_without_keys_unless_that_is_said(cpu_image: Image) -> None:
    with container(cpu_image) as box, box.start(cpu_image.command) as process:
        assert "AEOLUS_API_KEYS" in process.communicate()[0]
    assert process.returncode == 1


def test_the_shim_image_serves_a_triton_elsewhere(cpu_image: Image, shim_image: Image) -> None:
    with (
        container(cpu_image) as triton,
        container(shim_image) as front,
        served(triton, cpu_image.command) as url,
    ):
        front.run(["python3", "-c", "import shim.app"])
        imported = "import importlib.util as u; raise SystemExit(u.find_spec('torch') is not None)"
        front.run(["python3", "-c", imported])
        port = free_ports().http
        address = grpc_address(url)
        with front.start(
            shim_image.command, AEOLUS_PORT=str(port), AEOLUS_TRITON_ADDRESSES=address, **ANYBODY
        ) as process:
            wait_until_ready(f"http://127.0.0.1:{port}")
            reply = ask(f"http://127.0.0.1:{port}", "mistral-7b")
            assert reply.status_code == 200
            front_end = next(each for each in family(process.pid) if is_aeolus(each))
            os.kill(front_end.pid, signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0


MODELS = {"mistral-7b": (A10G, "MistralForCausalLM"), "llama-2-70b": (A100_80, "LlamaForCausalLM")}


@pytest.mark.parametrize("model", MODELS)
def test_the_serving_image_builds_an_engine_and_serves_it(
    serving_image: Image, model: str, tmp_path: Path
) -> None:
    """By the commands of compose.yaml, whose image this is."""
    entry = load_catalog()[model]
    smi, architecture = MODELS[model]
    name, _, memory = smi.partition(", ")
    gpus = entry.engine.tp_size
    driver = {
        "STAND_IN_SMI": "\n".join([smi] * gpus),
        "STAND_IN_GPUS": str(gpus),
        "STAND_IN_GPU": name,
        "STAND_IN_MEMORY_MIB": memory,
    }
    kind = f"{entry.engine.gpu.lower()}-tp{gpus}-none-1.2.1"
    variables = {"MODEL": model, "ENGINE": kind}
    models = tmp_path / "models"
    models.mkdir()
    models.chmod(0o777)
    hub = Hub(entry.checkpoint, demo_files(architecture))
    with container(serving_image, models=models) as box:
        with serve_hub(hub):
            output = box.run(compose_command("build", variables), HF_ENDPOINT=hub.url, **driver)
            assert output.splitlines()[-1] == f"/models/{model}/{kind}/engine"
            # The second run finds it there.
            box.run(compose_command("build", variables), HF_ENDPOINT=hub.url, **driver)
        engine = models / model / kind / "engine"
        assert len(list(engine.glob("rank*.engine"))) == gpus
        with served(box, compose_command("gpu", variables), **driver) as url:
            reply = ask(url, model)
            assert reply.status_code == 200, reply.text
            assert reply.json().startswith("What is a zephyr?")
            assert len(reply.json()) > len("What is a zephyr?")
            with stream(url, model) as chunks:
                assert "".join(chunks.iter_text())


def demo_files(architecture: str) -> dict[str, bytes]:
    """The demo checkpoint as one of another architecture that has the same weights."""
    files = {path.name: path.read_bytes() for path in DEMO.iterdir()}
    config = json.loads(files["config.json"])
    config["architectures"] = [architecture]
    config["model_type"] = architecture.removesuffix("ForCausalLM").lower()
    if config["model_type"] == "mistral":
        config["sliding_window"] = 4096
    return files | {"config.json": json.dumps(config).encode()}


def compose_command(service: str, variables: dict[str, str]) -> list[str]:
    """Return what a service of compose.yaml runs, its variables filled in as compose does."""
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    [script] = services[service]["command"]

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1], match[2])

    script = re.sub(r"\$\{(\w+):-([^}]*)\}", value, script).replace("$$", "$")
    return [*services[service]["entrypoint"], script]


def grpc_address(url: str) -> str:
    """Return where the Triton behind a service listens, by the service's command line."""
    port = url.rpartition(":")[2]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_text().split("\0")
        if f"--port={port}" in words:
            [grpc] = [each for each in words if each.startswith("--triton-grpc-port=")]
            return f"127.0.0.1:{grpc.partition('=')[2]}"
    raise AssertionError(f"nothing serves {url}")


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} is not ready")


def ask(url: str, model: str) -> httpx.Response:
    return httpx.post(f"{url}/model_versions/{model}/predict", json=QUESTION, timeout=READY_SECONDS)


def stream(url: str, model: str) -> AbstractContextManager[httpx.Response]:
    return httpx.stream(
        "POST",
        f"{url}/model_versions/{model}/predict",
        json=QUESTION | {"stream": True},
        timeout=READY_SECONDS,
    )
