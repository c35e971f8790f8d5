"""What README's production section and docs/operations.md say to type exists as they say it."""

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from build_engines.options import parse
from engine_step.metrics import GAUGES, INPUT_LENGTH
from launcher.serve import parse_arguments
from scripts.chart import CHART, render, yaml_documents
from shim.observation.metrics import Metrics
from shim.settings import Settings
from support.documented import (
    COMPOSE,
    OPERATIONS,
    PRODUCTION,
    README,
    ROOT,
    Command,
    commands,
    compose_services,
    docker_build,
)

TYPED = [*commands(README, PRODUCTION), *commands(OPERATIONS)]
STEPS = ("plan", "fetch", "convert", "build", "prepare", "assemble")
OF_DOCKER = {"--shm-size=2g"}
FILES = (".log", ".toml", ".yaml")


@cache
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return found


@cache
def code_spans() -> list[str]:
    text = re.sub(r"^```.*?^```$", "", OPERATIONS.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"`([^`]+)`", re.sub(r"\s+", " ", text))


def test_every_kind_of_command_is_there() -> None:
    assert {each.words[0] for each in TYPED} == {"docker", "echo", "helm", "make", "mkdir"}


def test_readmes_production_section_holds_what_the_rehearsal_of_the_images_runs() -> None:
    """tests/docker/images takes it from there, a kind of command at a time."""
    typed = commands(README, PRODUCTION)
    built = [build.dockerfile.name for each in typed if (build := docker_build(each))]
    assert built == ["serving.Dockerfile", "shim.Dockerfile"]
    composed = [services for each in typed if (services := compose_services(each))]
    assert [[each.name for each in services] for services in composed] == [["build"], ["gpu"]]
    others = [each.words[:2] for each in typed if each.words[0] != "docker"]
    assert others == [["helm", "install"], ["make", "plan"], ["make", "build"], ["make", "serve"]]
    assert len(typed) == len(built) + len(composed) + len(others)


@pytest.mark.parametrize("command", TYPED, ids=lambda command: command.line.strip()[:60])
def test_a_command_is_understood(command: Command) -> None:
    {
        "docker": check_docker,
        "echo": check_secret,
        "helm": check_helm,
        "make": check_make,
        "mkdir": check_secret,
    }[command.words[0]](command)


def check_docker(command: Command) -> None:
    if build := docker_build(command):
        declared = re.findall(r"^ARG (\w+)", (ROOT / build.dockerfile).read_text(), re.MULTILINE)
        assert set(build.arguments) <= set(declared)
        composed = yaml.safe_load(COMPOSE.read_text())["services"].values()
        assert build.tag in {each["image"] for each in composed} | set(values()["images"].values())
        return
    services = compose_services(command)
    assert services
    known = set.union(*(each.variables for each in services))
    assert set(command.variables) <= known


def check_secret(command: Command) -> None:
    """A file or the directory of the files that compose.yaml mounts as secrets."""
    secrets = yaml.safe_load(COMPOSE.read_text())["secrets"].values()
    files = {str(Path("docker") / each["file"]) for each in secrets}
    path = command.words[-1]
    assert path in files or all(each.startswith(f"{path}/") for each in files)


def check_helm(command: Command) -> None:
    verb, release, chart, *options = command.words[1:]
    assert (verb, release, chart) == ("install", "llm", "docker/helm")
    given: dict[str, Any] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--values":
            given |= yaml.safe_load((ROOT / value).read_text())
        else:
            assert option == "--set"
            name, _, text = value.partition("=")
            given[name] = text
    assert render(given)


def check_make(command: Command) -> None:
    _, target, *settings = command.words
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)
    for each in settings:
        assert re.search(rf"^{each.partition('=')[0]} \?=", makefile, re.MULTILINE), each


def test_settings_flags_and_metrics_are_real() -> None:
    settings = {f"AEOLUS_{name.upper()}" for name in Settings.model_fields}
    flags = set(re.findall(r"--[\w-]+", helps()))
    families = {family for family, _, _ in GAUGES} | {INPUT_LENGTH[0]}
    for metric in Metrics().registry.collect():
        families |= {metric.name, *(sample.name for sample in metric.samples)}
    for span in code_spans():
        for name in re.findall(r"\bAEOLUS_\w+", span):
            assert name in settings
        for flag in re.findall(r"(?<![\w-])--[\w-]+(?:=\w+)?", span):
            assert flag in flags | OF_DOCKER
        for family in re.findall(r"\b(?:aeolus|nv)_\w+", span):
            assert family in families


@cache
def helps() -> str:
    """What `aeolus` says of its steps and of `serve`."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        for step in STEPS:
            with pytest.raises(SystemExit):
                parse([step, "--help"], "aeolus")
        with pytest.raises(SystemExit):
            parse_arguments(["--help"], "aeolus serve")
    return output.getvalue()


def test_values_of_the_chart_are_real() -> None:
    model = {"autoscaling": {"min": 1, "max": 2, "requestsPerReplica": 3}}
    known = values() | model | {"gpus": {"<kind>": next(iter(values()["gpus"].values()))}}
    checked = 0
    for span in code_spans():
        path = span.partition(":")[0]
        if path.partition(".")[0] not in known or path.endswith(FILES):
            continue
        if re.fullmatch(r"[a-zA-Z]+(\.[a-zA-Z<>]+)+", path):
            place: Any = known
            for key in path.split("."):
                assert key in place, path
                place = place[key]
            checked += 1
    assert checked > 8


def test_what_kubectl_is_given_is_in_a_release() -> None:
    release: dict[str, Any] = {"models": {"mistral-7b": {}}, "shim": {"apiKeysSecret": "keys"}}
    names = {
        f"{each['kind']} {each['metadata']['name']}".lower().replace("llm-", "release-")
        for text in render(release).values()
        for each in yaml_documents(text)
    }
    typed = [each.removeprefix("kubectl ") for each in code_spans() if each.startswith("kubectl ")]
    assert {"describe pod", "drain"} < set(typed)
    for each in typed:
        if restarted := re.fullmatch(r"rollout restart (.*)", each):
            assert restarted[1].lower() in names


def failures() -> list[list[str]]:
    text = OPERATIONS.read_text(encoding="utf-8")
    [section] = re.findall(r"^## The twelve likeliest failures$(.*?)(?=^## |\Z)", text, re.M | re.S)
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def test_there_are_twelve_failures_each_with_cause_and_remedy() -> None:
    assert len(failures()) == 12
    assert all(len(row) == 3 and all(row) for row in failures())


def test_the_messages_of_failures_are_those_of_the_code() -> None:
    """`...` is what a message fills in."""
    said = list(messages())
    quoted = [text for row in failures() for text in re.findall(r"`([^`]*[a-z] [^`]*)`", row[0])]
    assert len(quoted) > 6
    for text in quoted:
        parts = [part.strip() for part in re.split(r"\.\.\.|^error: ", text) if part.strip(": ")]
        assert any(all(part in message for part in parts) for message in said), text


def messages() -> Iterator[str]:
    """Yield the texts of the code, what formatted ones fill in left out."""
    for room in ("build_engines", "launcher", "shim", "contract", "executor_engine"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(each.value) if isinstance(each, ast.Constant) else "..."
                        for each in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_pages_link_to_what_there_is() -> None:
    for page in (OPERATIONS, ROOT / "docs" / "scaling.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            linked = page if not file else page.parent / file
            assert linked.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M)
                assert anchor in {each.lower().replace(" ", "-") for each in headings}, target
