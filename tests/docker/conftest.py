"""The rehearsal of the images takes minutes: it runs only where it is asked for by its marker."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave it out of every other run."""
    if collection_path.name != "test_images.py":
        return None
    return "images" not in (config.getoption("markexpr") or "")
