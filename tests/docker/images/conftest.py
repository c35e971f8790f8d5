"""The images of the rehearsal, which takes minutes: it runs only if its marker is asked for."""

import os
from pathlib import Path

import pytest

from support.documented import PRODUCTION, README, commands, docker_build
from support.images import Image, build, build_debian, copy_of_checkout, missing
from support.nvidia_base import write_nvidia_base

REGISTRY = "localhost/"
NVIDIA_BASE = "nvidia-base:local"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave it out of every other run."""
    if not collection_path.name.startswith("test_"):
        return None
    return "images" not in (config.getoption("markexpr") or "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, and skip it where images cannot be built."""
    reason = missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.images)
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"the rehearsal {reason}"))


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with the base of the images ready."""
    build_debian()
    return copy_of_checkout(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def nvidia_base(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the serving image is built on here."""
    name = f"{REGISTRY}{NVIDIA_BASE}"
    files = write_nvidia_base(tmp_path_factory.mktemp("nvidia"))
    build(name, context / "tests" / "docker" / "images" / "nvidia_base" / "Dockerfile", files)
    return Image.read(name)


@pytest.fixture(scope="session")
def cpu_image(context: Path) -> Image:
    """What compose.yaml builds for its service `cpu`."""
    build(f"{REGISTRY}aeolus-cpu", context / "docker/cpu.Dockerfile", context, REGISTRY=REGISTRY)
    return reported(Image.read(f"{REGISTRY}aeolus-cpu"))


@pytest.fixture(scope="session")
def shim_image(context: Path) -> Image:
    """README's, which builds it on Debian's own base; here it is one like it."""
    return readmes_image("shim", context, REGISTRY=REGISTRY)


@pytest.fixture(scope="session")
def serving_image(context: Path, nvidia_base: Image) -> Image:
    """README's, on the base that is laid out like NVIDIA's."""
    assert nvidia_base.name == f"{REGISTRY}{NVIDIA_BASE}"
    return readmes_image("serving", context, BASE=NVIDIA_BASE)


def readmes_image(kind: str, context: Path, **arguments: str) -> Image:
    """Build an image by README's command, with more build arguments."""
    [wanted] = [
        found
        for command in commands(README, PRODUCTION)
        if (found := docker_build(command)) and found.dockerfile.name.startswith(kind)
    ]
    given = {name: os.path.expandvars(value) for name, value in wanted.arguments.items()}
    if "REGISTRY" in given:
        assert wanted.arguments["REGISTRY"] == "$REGISTRY"
        given["REGISTRY"] = REGISTRY
    build(f"{REGISTRY}{wanted.tag}", context / wanted.dockerfile, context, **(given | arguments))
    return reported(Image.read(f"{REGISTRY}{wanted.tag}"))


def reported(image: Image) -> Image:
    """Say how large it is."""
    print(f"{image.name}: {image.megabytes:.0f} MB")  # noqa: T201 - `make images` shows it
    return image
