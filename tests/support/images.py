"""Images built from the Dockerfiles by buildah, without a daemon or a registry.

Needs root, buildah and debootstrap, and reaches Debian's mirror and PyPI as this machine does.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEBIAN = "localhost/debian:bookworm-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOT_IN_SLIM = (
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
    *("dev", "var/cache/apt", "var/lib/apt/lists"),
)
APT_CLEANS = """
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
"""What Debian's own slim image leaves out, and how it keeps apt from leaving packages behind."""
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


def build_debian() -> None:
    """Make the image that stands for debian:bookworm-slim, unless there is one.

    It knows how this machine reaches PyPI: its certificates, and its directory of wheels.
    """
    if exists(DEBIAN):
        return
    container = buildah("from", "scratch")
    try:
        root = Path(buildah("mount", container))
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", root, "http://deb.debian.org/debian"],
            check=True,
            capture_output=True,
        )
        for each in NOT_IN_SLIM:
            shutil.rmtree(root / each)
            (root / each).mkdir()
        settings = "".join(f"path-exclude /{each}/*\n" for each in NOT_IN_SLIM if each[:3] == "usr")
        (root / "etc" / "dpkg" / "dpkg.cfg.d" / "docker").write_text(settings)
        (root / "etc" / "apt" / "apt.conf.d" / "docker-clean").write_text(APT_CLEANS)
        shutil.copy(CERTIFICATES, root / "etc" / "host-certificates.crt")
        settings = f"[global]\ncert = /etc/host-certificates.crt\nfind-links = {WHEELS}\n"
        (root / "etc" / "pip.conf").write_text(settings)
        buildah("commit", container, DEBIAN)
    finally:
        buildah("rm", container)


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
    """An image, what its configuration says, and the digests of its layers, the lowest first."""

    name: str
    config: dict[str, Any]
    layers: list[str]

    @classmethod
    def read(cls, name: str) -> "Image":
        """Look at an image."""
        inspected = json.loads(buildah("inspect", "--type", "image", name))
        docker = inspected["Docker"]
        return cls(name, docker["config"], docker["rootfs"]["diff_ids"])

    @property
    def command(self) -> list[str]:
        """What starts when nothing else is asked for."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def healthcheck(self) -> list[str]:
        """What tells whether a container is healthy."""
        test: list[str] = self.config["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        return test[1:]

    @property
    def megabytes(self) -> float:
        """Uncompressed size."""
        sizes = json.loads(buildah("images", "--json", self.name))
        number, unit = str(sizes[0]["size"]).split()
        return float(number) * {"MB": 1.0, "GB": 1000.0}[unit]
