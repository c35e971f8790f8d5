"""The service runs where a hardened container puts it: a read-only root, an arbitrary user."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from launcher.ports import free_ports
from launcher.processes import family
from scripts.bench.service import serve_command

ROOT = Path(__file__).parents[2]
ROOMS = ["build_engines", "client", "contract", "engine_step", "launcher", "model_repository"]
ROOMS += ["postprocessing", "preprocessing", "reference_engine", "shim"]
READ_ONLY = "mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp && cd / && "
AS_ANY_USER = "setpriv --reuid 12345 --regid 0 --clear-groups"
QUESTION = {"messages": [{"role": "user", "content": "What is a zephyr?"}], "stream": False}
TIMEOUT = 60


def can(command: str) -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", command], capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.mark.server
@pytest.mark.parametrize(
    "user",
    [
        pytest.param("", id="root"),
        pytest.param(
            AS_ANY_USER,
            marks=pytest.mark.skipif(
                not can(f"{AS_ANY_USER} sh -c '{sys.executable} {ROOT}/launcher/ports.py'"),
                reason="needs setpriv, and a Python and a checkout that every user may use",
            ),
            id="any user",
        ),
    ],
)
@pytest.mark.skipif(
    not can(f"{READ_ONLY} test -e {ROOT}"),
    reason="needs a mount namespace (root), and a checkout outside /tmp",
)
def test_it_serves_with_a_read_only_root_and_a_writable_tmp(user: str) -> None:
    command = subprocess.list2cmdline(serve_command(free_ports().http, free_ports()))
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"{READ_ONLY} exec {user} {command}"],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        try:
            assert process.stdout is not None
            url = next(
                line.removeprefix("ready: ").strip()
                for line in process.stdout
                if line.startswith("ready: ")
            )
            assert httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            for each in reversed(family(process.pid)):
                each.kill()


def test_no_room_runs_code_that_comes_with_a_checkpoint() -> None:
    trusting = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "trust_remote_code=True" in path.read_text() or "weights_only=False" in path.read_text()
    ]
    assert trusting == []
