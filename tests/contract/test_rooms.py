"""Imports between top-level folders go down the table of docs/architecture.md, never up."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"aeolus_client": "client", "aeolus_contract": "contract"}


def rows() -> list[list[str]]:
    """The rooms of each row of the table, from the top."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    _, _, table = page.partition("## Rooms")
    table, _, _ = table.partition("\n## ")
    firsts = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    return [re.findall(r"`(\w+)/`", first) for first in firsts]


FLOORS = {room: floor for floor, rooms in enumerate(rows()) for room in rooms}


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names}
    return {PACKAGES.get(top, top) for top in tops} & FLOORS.keys()


def test_every_package_is_a_room_of_the_table() -> None:
    folders = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/__init__.py")}
    assert folders - {"tests"} <= FLOORS.keys()


@pytest.mark.parametrize("room", FLOORS)
def test_no_import_goes_up_or_sideways(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for other in imported(path) - {room}:
            assert FLOORS[other] > FLOORS[room], f"{path.relative_to(ROOT)} imports {other}"
