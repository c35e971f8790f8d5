"""Each room's extra names what the room imports, and says so where it is missing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
EXTRAS_OF_ROOMS = {
    "catalog": set(),
    "build_engines": {"build", "models"},
    "shim": {"server", "chat"},
    "launcher": {"server"},
    "preprocessing": {"models"},
    "postprocessing": set(),
    "engine_step": {"models"},
    "guided_decoding": set(),
    "reference_engine": {"models"},
    "executor_engine": {"models"},
}
IN_TRITON_OR_NVIDIAS = {"accelerate", "modelopt", "tensorrt_llm", "triton_python_backend_utils"}
OURS = {"aeolus_client", "aeolus_contract", *EXTRAS_OF_ROOMS}


def imported(room: str) -> Iterator[tuple[str, Path]]:
    """Every module from elsewhere that a file of the room imports, wherever in the file."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names | OURS | IN_TRITON_OR_NVIDIAS:
                    yield name, path


def normalized(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


@cache
def closure(name: str) -> frozenset[str]:
    """What comes with a distribution, itself included; of its extras, all."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        try:
            needed = requires(each) or []
        except PackageNotFoundError:  # for another platform
            continue
        waiting += [normalized(one) for one in needed if "extra ==" not in one]
    return frozenset(found)


def declared(extras: set[str]) -> set[str]:
    direct = [*PROJECT["dependencies"], *CLIENT["dependencies"], "grpcio"]
    for extra in extras:
        direct += PROJECT["optional-dependencies"][extra]
    return set().union(*(closure(normalized(each)) for each in direct))


@pytest.mark.slow
@pytest.mark.parametrize("room", EXTRAS_OF_ROOMS)
def test_a_room_imports_only_what_its_extras_install(room: str) -> None:
    installed = packages_distributions()
    allowed = declared(EXTRAS_OF_ROOMS[room])
    for module, path in imported(room):
        distributions = {normalized(each) for each in installed[module.partition(".")[0]]}
        assert distributions & allowed, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (["serve"], "fastapi", "server"),
        (["shim"], "fastapi", "server"),
        (["fetch", "mistral-7b", "--output", "/nowhere"], "huggingface_hub", "build"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    command: list[str], module: str, extra: str
) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from aeolus_client.cli import main\n"
        f"sys.exit(main({command!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {module} is not installed: pip install 'aeolus[{extra}]'\n"
