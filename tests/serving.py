"""A real shim on a real port, for tests that need one of their own."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from shim.app import create_app
from shim.settings import Settings

from catalog import load_catalog

START_SECONDS = 10


@contextmanager
def serve_shim(triton_address: str) -> Iterator[str]:
    """Serve all five models from the ensemble at `triton_address`; yields the base URL."""
    settings = Settings(
        triton_address=triton_address,
        models=dict.fromkeys(load_catalog(), "ensemble"),
        default_model="stablelm-zephyr-3b",
    )
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
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
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
