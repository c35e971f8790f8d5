"""The CPU image serves, is healthy, and behaves as the first process of a container must."""

import os
import signal
import subprocess
import time

from launcher.processes import Process, family, zombies_of
from support.containers import STOP_SECONDS, Address, container, pid_1, served
from support.images import Image
from support.predicting import send_readmes_requests

ANYBODY = {"AEOLUS_ALLOW_ANONYMOUS": "true"}
ANY_USER = "54321:54321"
"""Without a line in /etc/passwd, and of none of the image's groups."""


def test_it_serves_the_readmes_requests_as_any_user(cpu_image: Image) -> None:
    address = Address.free()
    with (
        container(cpu_image, user=ANY_USER) as box,
        served(box, [*cpu_image.command, *address.options], **ANYBODY) as first,
    ):
        owners = {os.stat(f"/proc/{each.pid}").st_uid for each in family(first.pid)}
        assert owners == {54321}
        send_readmes_requests(address.url)
        box.run(cpu_image.healthcheck, **address.variables)
        leave_an_orphan(first)
        wait_until_reaped(first)


def leave_an_orphan(first: Process) -> None:
    """As `docker exec` does: a process whose parent ends before it."""
    inside = ["nsenter", "--target", str(first.pid), "--pid", "--mount"]
    subprocess.run([*inside, "sh", "-c", "sleep 5 >/dev/null & "], check=True)
    orphan = [each for each in family(first.pid) if each.command[:1] == ("sleep",)]
    assert [each.parent for each in orphan] == [first.pid]


def wait_until_reaped(first: Process) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while any(each.command[:1] == ("sleep",) for each in family(first.pid)) or zombies_of(
        {first.pid}
    ):
        assert time.monotonic() < deadline, "an orphan that has ended was not reaped"
        time.sleep(0.1)


def test_the_end_of_tritonserver_ends_neither_the_container_nor_its_service(
    cpu_image: Image,
) -> None:
    address = Address.free()
    with (
        container(cpu_image) as box,
        served(box, [*cpu_image.command, *address.options], **ANYBODY) as first,
    ):
        [server] = (each for each in family(first.pid) if each.name == "tritonserver")
        server.kill()
        deadline = time.monotonic() + STOP_SECONDS
        while not any(
            each.name == "tritonserver" and each.pid != server.pid for each in family(first.pid)
        ):
            assert time.monotonic() < deadline, "it was not started again"
            time.sleep(0.2)


def test_sigterm_while_it_loads_ends_it(cpu_image: Image) -> None:
    with (
        container(cpu_image) as box,
        box.start([*cpu_image.command, *Address.free().options], **ANYBODY) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("loading models")
        members = family(process.pid)
        os.kill(pid_1(process).pid, signal.SIGTERM)
        output = process.communicate(timeout=STOP_SECONDS)[0]
    assert process.returncode == 0, output
    assert [each for each in members if each.is_running] == []


def test_a_container_that_does_not_serve_is_not_healthy(cpu_image: Image) -> None:
    with (
        container(cpu_image) as box,
        box.start(cpu_image.healthcheck, **Address.free().variables) as process,
    ):
        assert "refused" in process.communicate()[0]
    assert process.returncode == 1


def test_nobody_is_served_without_keys_unless_that_is_said(cpu_image: Image) -> None:
    with container(cpu_image) as box, box.start(cpu_image.command) as process:
        assert "AEOLUS_API_KEYS" in process.communicate()[0]
    assert process.returncode == 1


def test_it_says_what_it_is(cpu_image: Image) -> None:
    labels = cpu_image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "aeolus-cpu"
    with container(cpu_image) as box:
        version = box.run(
            ["python3", "-c", "import importlib.metadata as m; print(m.version('aeolus'))"]
        )
    assert labels["org.opencontainers.image.version"] == version.strip()
