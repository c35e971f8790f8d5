"""A real shim on a real port, for tests that need one of their own."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from catalog import load_catalog
from shim.app import create_app
from shim.server import ShimServer
from shim.settings import Settings

START_SECONDS = 60
DEFAULT_MODEL = "stablelm-zephyr-3b"


@contextmanager
def serve_shim(triton_address: str, models: Iterable[str] = (), **more: Any) -> Iterator[str]:
    """Serve models from the ensemble at `triton_address`; yields the base URL.

    Without `models` all five are served; the first one, or else StableLM, is the default. `more`
    are further settings.
    """
    with shim_server(triton_address, models, **more) as (_, url):
        yield url


@contextmanager
def shim_server(
    triton_address: str, models: Iterable[str] = (), **more: Any
) -> Iterator[tuple[ShimServer, str]]:
    """Do as `serve_shim`; yields the server, too."""
    names = list(models) or [DEFAULT_MODEL, *load_catalog()]
    settings = Settings(
        port=0,
        triton_addresses=triton_address.split(","),
        models=dict.fromkeys(names, "ensemble"),
        default_model=names[0],
        **more,
    )
    server = ShimServer(create_app(settings))
    listener = server.listen()
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="shim", daemon=True
    )
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the shim did not start")
        time.sleep(0.01)
    try:
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until_ready(shim_url: str, seconds: float = START_SECONDS) -> None:
    """Wait until the shim has found a Triton that is ready."""
    deadline = time.monotonic() + seconds
    while httpx.get(f"{shim_url}/health/ready", timeout=seconds).status_code != 200:
        assert time.monotonic() < deadline, "the shim is not ready"
        time.sleep(0.05)
