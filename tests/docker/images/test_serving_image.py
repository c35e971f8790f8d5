"""README's production section, run in the serving image: engines are built, and served."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog import load_catalog
from launcher.processes import family
from scripts.chart import render, yaml_documents
from support.containers import STOP_SECONDS, Address, Container, Volume, container, pid_1, served
from support.documented import (
    OPERATIONS,
    PRODUCTION,
    README,
    Command,
    Service,
    commands,
    compose_services,
)
from support.hub import Hub
from support.hub import serve as serve_hub
from support.images import WHEELS, Image
from support.nvidia_base import driver
from support.nvidia_tools import A10G, A100_80
from support.predicting import ask, send_readmes_requests, stream, wait_until_ready

DEMO = Path(__file__).parents[3] / "demo" / "checkpoint"
SERVICES = ("build", "gpu")
GPUS = {"mistral-7b": A10G, "llama-2-70b": A100_80}
ARCHITECTURES = {"mistral-7b": "MistralForCausalLM", "llama-2-70b": "LlamaForCausalLM"}
KEY = "a-key-of-sixteen-characters-or-more"


def of_compose(page: Path, model: str, section: str | None = None) -> dict[str, Service]:
    """Return the services of ours that a page runs for a model, by their names, as it orders."""
    found = {}
    for command in commands(page, section):
        if command.variables.get("MODEL") == model:
            for service in compose_services(command) or []:
                found[service.name] = service
    return found


def stand_in_driver(model: str, checkpoint: str | None = None) -> dict[str, str]:
    gpus = load_catalog()[model].engine.tp_size
    return driver(GPUS[model], gpus, checkpoint or f"/models/{model}/checkpoint")


@contextmanager
def hub_of(model: str) -> Iterator[str]:
    """Serve the demo checkpoint as the model's, which has the same tensors; yields the URL."""
    files = {path.name: path.read_bytes() for path in DEMO.iterdir()}
    config = json.loads(files["config.json"])
    config["architectures"] = [ARCHITECTURES[model]]
    config["model_type"] = ARCHITECTURES[model].removesuffix("ForCausalLM").lower()
    if config["model_type"] == "mistral":
        config["sliding_window"] = 4096
    hub = Hub(
        load_catalog()[model].checkpoint, files | {"config.json": json.dumps(config).encode()}
    )
    with serve_hub(hub):
        yield hub.url


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The volume `models`."""
    directory = tmp_path / "models"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture
def secrets(tmp_path: Path) -> Volume:
    """Those of compose.yaml, as docs/operations.md writes them."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "keys").write_text(f'ann = "{KEY}"\n')
    (directory / "hf_token").write_text("hf_token\n")
    return Volume(directory, "run/secrets", "ro")


def prepare(box: Container, build: Service, model: str, models: Path) -> Path:
    """Build the model's engine; the second time it is there. Returns where it is."""
    with hub_of(model) as url:
        environment = {**build.environment, **stand_in_driver(model), "HF_ENDPOINT": url}
        printed = box.run(build.command, **environment).splitlines()[-1]
    # Without a hub it could not be fetched again.
    assert box.run(build.command, **environment).splitlines()[-1] == printed
    engine = models / Path(printed).relative_to("/models")
    ranks = sorted(each.name for each in engine.glob("rank*.engine"))
    assert ranks == [f"rank{rank}.engine" for rank in range(load_catalog()[model].engine.tp_size)]
    return engine


def predicts(url: str, model: str, key: str) -> None:
    """Assert that a service answers the READMEs' requests for a model, whole and streamed."""
    send_readmes_requests(url, f"prompt_models and {model}", key)
    reply = ask(url, model, key)
    assert reply.json().startswith("What is a zephyr?")
    assert len(reply.json()) > len("What is a zephyr?")
    with stream(url, model, key) as chunks:
        assert "".join(chunks.iter_text())


@pytest.mark.parametrize(
    ("model", "page", "section"),
    [("mistral-7b", README, PRODUCTION), ("llama-2-70b", OPERATIONS, "One machine")],
    ids=["7b", "70b"],
)
def test_docker_compose_builds_an_engine_and_serves_it(
    serving_image: Image, model: str, page: Path, section: str, models: Path, secrets: Volume
) -> None:
    """What README and docs/operations.md type, with the keys that they make."""
    services = of_compose(page, model, section)
    assert tuple(services) == SERVICES
    assert {each.image for each in services.values()} == {serving_image.name.partition("/")[2]}
    address = Address.free()
    with container(serving_image, Volume(models, "models"), secrets) as box:
        engine = prepare(box, services["build"], model, models)
        assert engine.parent.name in services["gpu"].command[-1]
        *shell, script = services["gpu"].command
        command = [*shell, f"{script.rstrip()} {' '.join(address.options)}"]
        environment = {**services["gpu"].environment, **stand_in_driver(model)}
        with served(box, command, **environment) as first:
            gpus = load_catalog()[model].engine.tp_size
            assert len([each for each in family(first.pid) if each.name == "tensorrt_llm"]) == gpus
            assert ask(address.url, model, "another-key-of-someone").status_code == 401
            predicts(address.url, model, KEY)
            box.run(serving_image.healthcheck, **address.variables)


def test_helm_s_pods_do_the_same(
    serving_image: Image, shim_image: Image, models: Path, tmp_path: Path
) -> None:
    """The commands of the release that README installs, as the user and group of its pods."""
    [install] = [each for each in commands(README, PRODUCTION) if each.words[:1] == ["helm"]]
    pods = pods_of(install)
    [model] = set(pods) - {"shim"}
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(0o777)
    user = f"{pods[model]['build']['securityContext']['runAsUser']}:10001"
    with container(serving_image, Volume(models, "models"), user=user) as box, hub_of(model) as url:
        [job] = pods[model]["build"]["containers"]
        command = [*serving_image.config["Entrypoint"], *job["args"]]
        box.run(command, HF_ENDPOINT=url, **stand_in_driver(model))
    back, front = Address.free(), Address.free()
    mounted = (Volume(models, "models", "ro"), Volume(run, "run/aeolus"))
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "keys.toml").write_text(f'ann = "{KEY}"\n')
    with (
        container(serving_image, *mounted, user=user) as triton,
        container(shim_image, Volume(keys, "etc/aeolus/keys", "ro"), user=user) as box,
    ):
        [init] = pods[model]["triton"]["initContainers"]
        variables = {each["name"]: each["value"] for each in init["env"]}
        triton.run([*init["command"], *init["args"]], **variables)
        [served_by] = pods[model]["triton"]["containers"]
        command = [*serving_image.config["Entrypoint"], *served_by["args"], *back.options]
        [shim] = pods["shim"]["shim"]["containers"]
        variables = {each["name"]: each["value"] for each in shim["env"]}
        address = variables["AEOLUS_MODEL_ADDRESSES"]
        # There is no DNS of a cluster here.
        variables["AEOLUS_MODEL_ADDRESSES"] = json.dumps({model: [f"127.0.0.1:{back.grpc}"]})
        assert json.loads(address) == {model: [f"llm-{model}:8001"]}
        with (
            served(triton, command, **stand_in_driver(model)),
            box.start(shim_image.command, AEOLUS_PORT=str(front.port), **variables) as process,
        ):
            wait_until_ready(front.url)
            predicts(front.url, model, KEY)
            os.kill(pid_1(process).pid, signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0


def pods_of(install: Command) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the pods of a release, by model or `shim`, and by component."""
    values = yaml.safe_load(Path(install.words[install.words.index("--values") + 1]).read_text())
    pods: dict[str, dict[str, dict[str, Any]]] = {}
    for text in render(values).values():
        for each in yaml_documents(text):
            if each["kind"] in {"Deployment", "Job"}:
                labels = each["metadata"]["labels"]
                component = labels["app.kubernetes.io/component"]
                of = pods.setdefault(labels.get("aeolus/model", component), {})
                of[component] = each["spec"]["template"]["spec"]
    return pods


def test_sigterm_ends_a_build(serving_image: Image, models: Path, secrets: Volume) -> None:
    """Also as PID 1, for which the kernel knows no default action."""
    build = of_compose(README, "mistral-7b", PRODUCTION)["build"]
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        container(serving_image, Volume(models, "models"), secrets) as box,
        box.start(
            build.command,
            HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            **build.environment,
            **stand_in_driver("mistral-7b"),
        ) as process,
    ):
        connection, _ = silent.accept()
        members = family(process.pid)
        os.kill(pid_1(process).pid, signal.SIGTERM)
        output = process.communicate(timeout=STOP_SECONDS)[0]
        connection.close()
    assert process.returncode != 0, output
    assert [each for each in members if each.is_running] == []


def test_a_checkout_in_nvidias_container_does_it_by_make(
    nvidia_base: Image, context: Path, tmp_path: Path
) -> None:
    """README's lines as they are typed, by root, who may write there."""
    checkout = tmp_path / "checkout"
    shutil.copytree(context, checkout)
    typed = [each for each in commands(README, PRODUCTION) if each.words[:1] == ["make"]]
    assert [each.words[1] for each in typed] == ["plan", "build", "serve"]
    *before, serve = typed
    model = "llama-2-70b"
    there = f"/src/.run/checkpoints/{model}"
    wheels = [Volume(WHEELS, str(WHEELS).lstrip("/"), "ro")] if WHEELS.is_dir() else []
    address = Address.free()
    with container(nvidia_base, Volume(checkout, "src"), *wheels, user="0:0", access="rw") as box:
        with hub_of(model) as url:
            environment = {**stand_in_driver(model, there), "HF_ENDPOINT": url, "HOME": "/root"}
            for each in before:
                box.run(["sh", "-ec", f"cd /src; {each.line}"], **environment)
        command = ["sh", "-ec", f"cd /src; {serve.line}"]
        with served(box, command, "launcher", **environment, **address.variables):
            reply = ask(address.url, model)
            assert reply.status_code == 200, reply.text


def test_the_image_keeps_nvidias_versions(nvidia_base: Image, serving_image: Image) -> None:
    listing = ["/opt/venv-tritonserver/bin/python", "-m", "pip", "freeze", "--all"]
    with container(nvidia_base, user="0:0") as base, container(serving_image) as ours:
        kept, installed = base.run(listing).splitlines(), ours.run(listing).splitlines()
    assert set(kept) <= set(installed)
