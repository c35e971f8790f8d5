"""The Truss server without Docker: its build context, laid out as its Dockerfile does, and run.

Truss is installed into a venv of its own, whose torch and transformers are this environment's.
"""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.ports import free_ports
from scripts.bench.own_venv import OwnVenv

VENV = OwnVenv(
    "truss",
    ["truss==0.18.36"],
    requirements="truss/templates/server/requirements.txt",  # of the image of a Truss
    has_ours=True,  # torch and transformers
)
MISTRAL = Path(__file__).with_name("mistral")
BUILD = """
import pathlib, sys, truss
truss.load(sys.argv[1]).docker_build_setup(pathlib.Path(sys.argv[2]))
"""
START_SECONDS = 60.0


@contextmanager
def running_truss(checkpoint: Path, directory: Path, threads: int | None) -> Iterator[str]:
    """Serve the checkpoint by Truss with default settings until the end of the context.

    Args:
        checkpoint: directory of a Hugging Face checkpoint.
        directory: for the server and its log; it is made.
        threads: of torch; None: as many as torch takes by itself.

    Yields:
        The URL of the server.
    """
    VENV.install()
    server = _build(checkpoint, directory)
    port = free_ports().http
    environment = os.environ | {"INFERENCE_SERVER_PORT": str(port)}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    log_path = directory / "truss.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(  # noqa: S603 - the pinned package
            [VENV.program("python"), "main.py"], cwd=server, stdout=log, stderr=log, env=environment
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_SECONDS
            while not _is_ready(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"Truss did not start:\n{log_path.read_text()}")
                time.sleep(0.2)
            yield url
        finally:
            process.kill()


def _build(checkpoint: Path, directory: Path) -> Path:
    """Return the directory that is /app in the image of the Truss."""
    context = directory / "context"
    VENV.run("python", "-c", BUILD, str(MISTRAL), str(context))
    server = context / "server"
    for name in ("model", "config.yaml"):
        (context / name).rename(server / name)
    (server / "data").symlink_to(checkpoint.absolute())
    return server


def _is_ready(url: str) -> bool:
    """Say whether the server answers and has loaded its model."""
    try:
        urllib.request.urlopen(f"{url}/v1/models/model", timeout=10).close()  # noqa: S310
    except OSError:
        return False
    return True
