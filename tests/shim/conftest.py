"""The shim without a Triton behind it: everything that is refused before Triton is asked."""

import socket
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from catalog import load_catalog
from shim.app import create_app
from shim.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))  # and does not listen, nor can anything else
        yield Settings(
            triton_addresses=[f"127.0.0.1:{kept.getsockname()[1]}"],
            models=dict.fromkeys(load_catalog(), "ensemble"),
            default_model="stablelm-zephyr-3b",
            max_body_bytes=10_000,
        )


@pytest.fixture
def shim(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client
