"""Requests to a service under rehearsal."""

import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
READMES_REQUESTS = ROOT / "tests" / "shim" / "families" / "truss" / "test_readme_requests.py"
READY_SECONDS = 300
QUESTION = {"prompt": "What is a zephyr?", "max_new_tokens": 32}


def send_readmes_requests(url: str, wanted: str = "", key: str | None = None) -> None:
    """Send the requests of the five original READMEs.

    Args:
        url: of the service.
        wanted: which of them, as of pytest's -k; all if empty.
        key: in the place of `{YOUR_API_KEY}`.
    """
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", wanted, READMES_REQUESTS],
        env=os.environ | {"AEOLUS_TEST_URL": url} | ({"AEOLUS_TEST_KEY": key} if key else {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def ask(url: str, model: str, key: str = "any") -> httpx.Response:
    """Ask for a whole reply."""
    return httpx.post(
        f"{url}/model_versions/{model}/predict",
        json=QUESTION,
        headers={"Authorization": f"Api-Key {key}"},
        timeout=READY_SECONDS,
    )


def stream(url: str, model: str, key: str = "any") -> AbstractContextManager[httpx.Response]:
    """Ask for a reply as it grows."""
    return httpx.stream(
        "POST",
        f"{url}/model_versions/{model}/predict",
        json=QUESTION | {"stream": True},
        headers={"Authorization": f"Api-Key {key}"},
        timeout=READY_SECONDS,
    )


def wait_until_ready(url: str) -> None:
    """Wait for a service that does not say itself when it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} is not ready")
