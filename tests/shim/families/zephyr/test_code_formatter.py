import asyncio

import pytest

from shim.families.zephyr.code_formatter import Formatter


def formatted(code: str) -> str:
    async def run() -> str:
        return await Formatter().format(code)

    return asyncio.run(run())


def test_python_code_takes_blacks_form() -> None:
    assert formatted("def add( a,b ):return a+b") == "def add(a, b):\n    return a + b\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", ["def (", "SELECT 1 FROM t;", "", "[" * 300 + "]" * 300, "x = " + "1 if 2 else " * 2000]
)
def test_what_black_makes_nothing_of_stays_as_it_is(code: str) -> None:
    assert formatted(code) == code
