"""The shim's image serves a Triton elsewhere, and its code is a layer of its own."""

import os
import signal
import time
from pathlib import Path

from launcher.processes import zombies_of
from support.containers import STOP_SECONDS, Address, container, pid_1, served
from support.images import Image, build
from support.predicting import ask, wait_until_ready

ANYBODY = {"AEOLUS_ALLOW_ANONYMOUS": "true"}
REBUILT = "localhost/aeolus-shim:rebuilt"
ABSENT = "import importlib.util as u; raise SystemExit(u.find_spec('{}') is not None)"


def test_it_serves_a_triton_elsewhere(cpu_image: Image, shim_image: Image) -> None:
    back, front = Address.free(), Address.free()
    triton_only = [*cpu_image.command, "--triton-only", *back.options]
    with (
        container(cpu_image) as triton,
        container(shim_image, user="54321:54321") as box,
        served(triton, triton_only),
        box.start(
            shim_image.command,
            AEOLUS_PORT=str(front.port),
            AEOLUS_TRITON_ADDRESSES=f"127.0.0.1:{back.grpc}",
            **ANYBODY,
        ) as process,
    ):
        wait_until_ready(front.url)
        assert ask(front.url, "mistral-7b").status_code == 200
        box.run(shim_image.healthcheck, AEOLUS_PORT=str(front.port))
        first = pid_1(process)
        assert zombies_of({first.pid}) == set()
        os.kill(first.pid, signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0


def test_it_has_neither_torch_nor_a_tritonserver(shim_image: Image) -> None:
    with container(shim_image) as box:
        for package in ("torch", "transformers", "pytriton"):
            box.run(["python3", "-c", ABSENT.format(package)])


def test_a_change_of_code_makes_one_layer_anew(shim_image: Image, context: Path) -> None:
    source = context / "shim" / "__main__.py"
    before = source.read_bytes()
    source.write_bytes(before + b"\n# changed\n")
    try:
        began = time.monotonic()
        build(REBUILT, context / "docker/shim.Dockerfile", context, REGISTRY="localhost/")
        print(f"built again after a change of code: {time.monotonic() - began:.0f} s")  # noqa: T201
    finally:
        source.write_bytes(before)
    rebuilt = Image.read(REBUILT)
    assert len(set(rebuilt.layers) - set(shim_image.layers)) == 1
