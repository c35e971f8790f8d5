"""A virtual environment for a system whose packages do not go with this project's."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENTS = Path(".run")
CUDA_BUILDS = ["torchaudio", "torchcodec", "torchvision"]
"""Dependencies that come for CUDA; beside a torch for CPUs the import of transformers fails."""


@dataclass(frozen=True)
class OwnVenv:
    """Packages of a system, installed when it is first measured."""

    name: str
    packages: list[str]
    requirements: str | None = None
    """A file of an installed package that lists what else its server needs."""
    has_ours: bool = False
    """Whether the packages of this interpreter are seen, too, behind its own."""

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return ENVIRONMENTS / f"{self.name}-venv"

    def program(self, name: str) -> str:
        """Return the path of a program of this environment."""
        return str((self.directory / "bin" / name).absolute())

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        return next(self.directory.glob("lib/python*/site-packages"))

    def install(self) -> None:
        """Install the packages, unless these are there; CalledProcessError if that fails."""
        record = self.directory / "packages.txt"
        packages = "\n".join(self.packages)
        if record.is_file() and record.read_text() == packages:
            return
        print(f"installing {' '.join(self.packages)} into {self.directory}", file=sys.stderr)
        venv.create(self.directory, clear=True, with_pip=True)
        if self.has_ours:
            ours = [each for each in sys.path if "-packages" in each]
            (self.site_packages / "ours.pth").write_text("\n".join(ours))
        self.run("pip", "install", "--quiet", *self.packages)
        if self.requirements:
            lines = (self.site_packages / self.requirements).read_text().splitlines()
            listed = self.directory / "requirements.txt"
            # Options of pip, such as another index, are not taken over.
            listed.write_text("\n".join(each for each in lines if not each.startswith("-")))
            self.run("pip", "install", "--quiet", "--requirement", str(listed))
        if not self.has_ours:
            self.run("pip", "uninstall", "--quiet", "--yes", *CUDA_BUILDS)
        record.write_text(packages)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of this environment; CalledProcessError, with its output, if it fails."""
        command = [self.program(program), *arguments]
        subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
