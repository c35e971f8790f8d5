"""Rows of a test that `make test` leaves to `make test-all`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from catalog import load_catalog


def extended(*rows: tuple[Any, ...]) -> list[Any]:
    """Return rows of `parametrize` that are extended tests."""
    return [pytest.param(*row, marks=pytest.mark.extended) for row in rows]


def extended_but(kept: Collection[str], values: Iterable[str]) -> list[Any]:
    """Return values of `parametrize`, of which all but `kept` are extended tests."""
    return [each if each in kept else extended((each,))[0] for each in values]


CATALOG = extended_but({"stablelm-zephyr-3b", "llama-2-70b"}, load_catalog())
"""The models, where each needs a server of its own: a small one and the one on two ranks."""
