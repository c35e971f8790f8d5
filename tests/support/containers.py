"""Containers of images, confined as compose.yaml and the chart confine them, without a daemon."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.ports import free_ports
from launcher.processes import Process, family
from support.images import Image, buildah

STOP_SECONDS = 60
CONFINE = """
root=$1 access=$2 uid=$3 gid=$4
shift 4
mount --bind "$root" "$root"
for option; do
    [ "$option" != -- ] || break
    there=${option#*:}
    mkdir -p "$root/${there%:*}"
done
mount -o "remount,bind,$access" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o nosuid,mode=755 dev "$root/dev"
for device in full null random tty urandom zero; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=2g shm "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 tmp "$root/tmp"
[ ! -d "$root/run/aeolus" ] || mount -t tmpfs -o nosuid,nodev,mode=1777 run "$root/run/aeolus"
for file in hosts resolv.conf; do mount --bind "/etc/$file" "$root/etc/$file"; done
while [ "$1" != -- ]; do
    there=${1#*:}
    mount --bind "${1%%:*}" "$root/${there%:*}"
    mount -o "remount,bind,${1##*:}" "$root/${there%:*}"
    shift
done
shift
exec chroot "$root" setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs \\
    --inh-caps=-all --bounding-set=-all "$@"
"""
"""The shell script that confines a container, and becomes its command."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory of this machine in a container."""

    here: Path
    there: str
    access: str = "rw"
    """Or `ro`."""


@dataclass(frozen=True, slots=True)
class Container:
    """What commands run in.

    Each command is PID 1 of its own process namespace, without capabilities; `/tmp`, `/run/aeolus`
    and `/dev/shm` are its own and empty. The network is this machine's.
    """

    image: Image
    root: Path
    user: str
    access: str
    volumes: tuple[Volume, ...]

    def start(self, command: list[str], **environment: str) -> "subprocess.Popen[str]":
        """Start a command; its output is joined, its exit status that of the command."""
        uid, _, gid = self.user.partition(":")
        volumes = (f"{each.here}:{each.there}:{each.access}" for each in self.volumes)
        variables = [
            *self.image.config["Env"],
            *(f"{name}={value}" for name, value in environment.items()),
        ]
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", "-euc", CONFINE, "confine", self.root, self.access, uid, gid or "0"),
                *(*volumes, "--", "env", "-i"),
                f"--chdir={self.image.config.get('WorkingDir') or '/'}",
                *(*variables, *command),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], **environment: str) -> str:
        """Run a command to its end; returns its output."""
        with self.start(command, **environment) as process:
            assert process.stdout is not None
            output = process.stdout.read()
        assert process.returncode == 0, output
        return output


@contextmanager
def container(
    image: Image, *volumes: Volume, user: str | None = None, access: str = "ro"
) -> Iterator[Container]:
    """A container of an image.

    Args:
        image: what it is made from.
        volumes: what is mounted in it.
        user: `UID` or `UID:GID`, if not the image's.
        access: `rw` if its root can be written.
    """
    name = buildah("from", "--pull-never", image.name)
    try:
        root = Path(buildah("mount", name))
        yield Container(image, root, user or image.config["User"], access, volumes)
    finally:
        buildah("rm", name)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service of a container listens."""

    port: int
    grpc: int
    http: int
    metrics: int

    @classmethod
    def free(cls) -> "Address":
        """Choose ports that are free."""
        triton = free_ports()
        return cls(free_ports().http, triton.grpc, triton.http, triton.metrics)

    @property
    def url(self) -> str:
        """Of the HTTP API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> list[str]:
        """Of `aeolus serve`."""
        return [
            f"--port={self.port}",
            f"--triton-grpc-port={self.grpc}",
            f"--triton-http-port={self.http}",
            f"--triton-metrics-port={self.metrics}",
        ]

    @property
    def variables(self) -> dict[str, str]:
        """Of the Makefile, and of the image's health check."""
        return {
            "PORT": str(self.port),
            "TRITON_GRPC_PORT": str(self.grpc),
            "TRITON_HTTP_PORT": str(self.http),
            "TRITON_METRICS_PORT": str(self.metrics),
            "AEOLUS_PORT": str(self.port),
        }


@contextmanager
def served(
    box: Container, command: list[str], stopped: str = "", **environment: str
) -> Iterator[Process]:
    """Run a command that serves, until SIGTERM ends it with status 0 and nothing left.

    Args:
        box: where it runs.
        command: says "ready: " when it serves.
        stopped: a word of the process that gets SIGTERM, if that is not PID 1 of the container.
        environment: of the command, over the image's.

    Yields:
        PID 1 of the container, when it serves.
    """
    with box.start(command, **environment) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready: "):
                break
        else:
            pytest.fail("".join(lines[-30:]))
        members = family(process.pid)
        first = pid_1(process)
        try:
            yield first
        finally:
            ended = next(each for each in members if stopped in each.command) if stopped else first
            os.kill(ended.pid, signal.SIGTERM)
            output = process.communicate(timeout=STOP_SECONDS)[0]
        assert process.returncode == 0, output
        assert [each for each in members if each.is_running] == []


def pid_1(process: "subprocess.Popen[str]") -> Process:
    """Return the first process of a container, which docker and Kubernetes send their signals."""
    [first] = (each for each in family(process.pid) if each.parent == process.pid)
    return first
