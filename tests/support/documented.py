"""The commands that pages of the documentation give, and what docker compose runs for them."""

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
COMPOSE = ROOT / "docker" / "compose.yaml"
PRODUCTION = "Production: the container"
"""README's section that the rehearsal of the images runs."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a page: the variables in front of it, and its words."""

    line: str
    variables: dict[str, str]
    words: list[str]

    @classmethod
    def parse(cls, line: str) -> "Command":
        """Read a line as a shell does, its comment left out."""
        words = shlex.split(line, comments=True)
        variables = {}
        while words and (match := re.fullmatch(r"(\w+)=(.*)", words[0], re.DOTALL)):
            variables[match[1]] = match[2]
            del words[0]
        return cls(line, variables, words)


def commands(page: Path, section: str | None = None) -> list[Command]:
    """Return the commands of the shell blocks of a page, or of a section of it."""
    text = page.read_text(encoding="utf-8")
    if section is not None:
        [text] = re.findall(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
    aliases: dict[str, str] = {}
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if alias := re.fullmatch(r"alias ([\w-]+)='([^']*)'", line):
            aliases[alias[1]] = alias[2]
            continue
        for name, meaning in aliases.items():
            line = re.sub(rf"(?<![\w/-]){name}(?=\s)", meaning, line)
        command = Command.parse(line)
        if command.words:
            found.append(command)
    return found


@dataclass(frozen=True, slots=True)
class Build:
    """What a `docker build` builds."""

    dockerfile: Path
    arguments: dict[str, str]
    tag: str


def docker_build(command: Command) -> Build | None:
    """Return what a command builds, if it does; its Dockerfile is one of the checkout."""
    if command.words[:2] != ["docker", "build"]:
        return None
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--build-arg", action="append", default=[])
    parser.add_argument("context", choices=["."])
    options = parser.parse_args(command.words[2:])
    arguments = dict(each.split("=", 1) for each in options.build_arg)
    return Build(options.file, arguments, options.tag)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of compose.yaml, its variables filled in."""

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    variables: set[str]
    """Those that compose.yaml knows."""


def compose_services(command: Command) -> list[Service] | None:
    """Return the services of compose.yaml that a command runs, if it is one of docker compose."""
    if command.words[:2] != ["docker", "compose"]:
        return None
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True, choices=["docker/compose.yaml"])
    parser.add_argument("--profile", action="append", default=[])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("--rm", action="store_true", required=True)
    run.add_argument("service")
    verbs.add_parser("up").add_argument("--build", action="store_true")
    options = parser.parse_args(command.words[2:])
    known: set[str] = set()

    def value(match: re.Match[str]) -> str:
        known.add(match[1])
        return command.variables.get(match[1], match[2])

    text = re.sub(r"\$\{(\w+):-([^}]*)\}", value, COMPOSE.read_text()).replace("$$", "$")
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    if options.verb == "run":
        names = [options.service]
    else:
        names = [
            name for name, each in services.items() if set(each["profiles"]) & set(options.profile)
        ]
    return [
        Service(
            name,
            services[name]["image"],
            [*services[name].get("entrypoint", []), *services[name].get("command", [])],
            services[name].get("environment", {}),
            known,
        )
        for name in names
    ]
