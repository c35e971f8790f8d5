"""The Truss server without Docker: its build context, laid out as its Dockerfile does, and run.

Truss is installed into a venv of its own, whose torch and transformers are this environment's.
"""

import os
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.ports import free_ports

PACKAGE = "truss==0.18.36"
VENV = Path(".run/truss-venv").absolute()
PYTHON = VENV / "bin" / "python"
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
    _install()
    server = _build(checkpoint, directory)
    port = free_ports().http
    environment = os.environ | {"INFERENCE_SERVER_PORT": str(port)}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    log_path = directory / "truss.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(  # noqa: S603 - the pinned package
            [str(PYTHON), "main.py"], cwd=server, stdout=log, stderr=log, env=environment
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


def _install() -> None:
    """Install Truss and what its server needs, unless that version is there."""
    installed = VENV / "installed.txt"
    if installed.is_file() and installed.read_text() == PACKAGE:
        return
    print(f"installing {PACKAGE} into {VENV}", file=sys.stderr)
    venv.create(VENV, clear=True, with_pip=True)
    packages = next(VENV.glob("lib/python*/site-packages"))
    shared = [each for each in sys.path if "-packages" in each]
    (packages / "shared.pth").write_text("\n".join(shared))
    pip_install = [str(PYTHON), "-m", "pip", "install", "--quiet"]
    _run(*pip_install, PACKAGE)
    # What the image of a Truss gets, but for its choice of a package index.
    lines = (packages / "truss/templates/server/requirements.txt").read_text().splitlines()
    requirements = VENV / "requirements.txt"
    requirements.write_text("\n".join(each for each in lines if not each.startswith("-")))
    _run(*pip_install, "--requirement", str(requirements))
    installed.write_text(PACKAGE)


def _build(checkpoint: Path, directory: Path) -> Path:
    """Return the directory that is /app in the image of the Truss."""
    context = directory / "context"
    _run(str(PYTHON), "-c", BUILD, str(MISTRAL), str(context))
    server = context / "server"
    for name in ("model", "config.yaml"):
        (context / name).rename(server / name)
    (server / "data").symlink_to(checkpoint.absolute())
    return server


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{result.stderr}")


def _is_ready(url: str) -> bool:
    """Say whether the server answers and has loaded its model."""
    try:
        urllib.request.urlopen(f"{url}/v1/models/model", timeout=10).close()  # noqa: S310
    except OSError:
        return False
    return True
