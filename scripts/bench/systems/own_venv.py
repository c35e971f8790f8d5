"""A virtual environment for a system whose packages do not go with this project's."""

import subprocess
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

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return ENVIRONMENTS / f"{self.name}-venv"

    def program(self, name: str) -> str:
        """Return the path of a program of this environment."""
        return str(self.directory / "bin" / name)

    def install(self) -> None:
        """Install the packages, unless these are there; CalledProcessError if that fails."""
        record = self.directory / "packages.txt"
        packages = "\n".join(self.packages)
        if record.is_file() and record.read_text() == packages:
            return
        venv.create(self.directory, clear=True, with_pip=True)
        self.run("pip", "install", "--quiet", *self.packages)
        self.run("pip", "uninstall", "--quiet", "--yes", *CUDA_BUILDS)
        record.write_text(packages)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of this environment; CalledProcessError, with its output, if it fails."""
        command = [self.program(program), *arguments]
        subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
