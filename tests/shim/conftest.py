"""The shim without a Triton behind it: everything that is refused before Triton is asked."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from catalog import load_catalog
from launcher.ports import free_ports
from shim.app import create_app
from shim.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(
        triton_addresses=[f"127.0.0.1:{free_ports().grpc}"],  # nothing listens there
        models=dict.fromkeys(load_catalog(), "ensemble"),
        default_model="stablelm-zephyr-3b",
        max_body_bytes=10_000,
    )


@pytest.fixture
def shim(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client
