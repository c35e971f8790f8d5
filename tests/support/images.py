"""Images built from the Dockerfiles by buildah, without a daemon or a registry, and run.

Needs root, buildah and debootstrap, and reaches Debian's mirror and PyPI as this machine does.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEBIAN = "localhost/debian:bookworm-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
WHEELS = Path(os.environ.get("PIP_FIND_LINKS", "/nowhere"))
"""A directory of wheels of this machine, where it has one."""
ENVIRONMENT = os.environ | {"BUILDAH_ISOLATION": "chroot"}


def missing() -> str | None:
    """Return what keeps this machine from building images."""
    if os.getuid() != 0:
        return "needs root"
    programs = [each for each in ("buildah", "debootstrap") if shutil.which(each) is None]
    return f"needs {' and '.join(programs)}" if programs else None


def buildah(*arguments: str | Path) -> str:
    """Run a command of buildah; returns its output."""
    run = subprocess.run(
        ["buildah", *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, (arguments, run.stdout[-3000:], run.stderr[-3000:])
    return run.stdout.strip()


def exists(image: str) -> bool:
    """Whether an image was built before."""
    command = ["buildah", "inspect", "--type", "image", image]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 0


def build_debian(directory: Path) -> None:
    """Make the image that stands for debian:bookworm-slim, unless there is one.

    It knows how this machine reaches PyPI: its certificates, and its directory of wheels.
    """
    if exists(DEBIAN):
        return
    root = directory / "debian"
    subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", root, "http://deb.debian.org/debian"],
        check=True,
        capture_output=True,
    )
    for each in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / each)
        (root / each).mkdir()
    shutil.copy(CERTIFICATES, root / "etc" / "host-certificates.crt")
    settings = f"[global]\ncert = /etc/host-certificates.crt\nfind-links = {WHEELS}\n"
    (root / "etc" / "pip.conf").write_text(settings)
    container = buildah("from", "scratch")
    try:
        shutil.copytree(root, buildah("mount", container), symlinks=True, dirs_exist_ok=True)
        buildah("commit", container, DEBIAN)
    finally:
        buildah("rm", container)
        shutil.rmtree(root)


def copy_of_checkout(directory: Path) -> Path:
    """Copy what git knows of the checkout, as a build context that nobody edits meanwhile."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    return directory


def build(image: str, dockerfile: Path, context: Path, **arguments: str) -> None:
    """Build an image from a Dockerfile."""
    volumes = ["--volume", f"{WHEELS}:{WHEELS}:ro"] if WHEELS.is_dir() else []
    buildah(
        *("bud", "--format", "docker", "--network", "host", "--layers", *volumes),
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *("--file", dockerfile, "--tag", image, context),
    )


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and what its configuration says."""

    name: str
    config: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> "Image":
        """Look at an image."""
        inspected = json.loads(buildah("inspect", "--type", "image", name))
        return cls(name, inspected["Docker"]["config"])

    @property
    def command(self) -> list[str]:
        """What starts when nothing else is asked for."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def megabytes(self) -> float:
        """Uncompressed size."""
        sizes = json.loads(buildah("images", "--json", self.name))
        number, unit = str(sizes[0]["size"]).split()
        return float(number) * {"MB": 1.0, "GB": 1000.0}[unit]


@contextmanager
def container(image: Image, **volumes: Path) -> Iterator["Container"]:
    """A container of an image; volumes are directories here by their path there, `/` as `_`."""
    name = buildah("from", "--pull-never", image.name)
    try:
        yield Container(
            name, image, {path.replace("_", "/"): here for path, here in volumes.items()}
        )
    finally:
        buildah("rm", name)


@dataclass(frozen=True, slots=True)
class Container:
    """A container, in which commands run as the image's user."""

    name: str
    image: Image
    volumes: dict[str, Path]

    def start(self, command: list[str], **environment: str) -> "subprocess.Popen[str]":
        """Start a command; its output is joined."""
        return subprocess.Popen(
            [
                *("buildah", "run", "--network", "host", "--user", self.image.config["User"]),
                *(f"--volume={here}:/{path}" for path, here in self.volumes.items()),
                *(f"--env={name}={value}" for name, value in environment.items()),
                *(self.name, "--", *command),
            ],
            env=ENVIRONMENT,
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
