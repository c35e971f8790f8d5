"""Environments that have wheels of ours, and nothing else of this repository."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np


class Environment:
    """A virtual environment with some wheels; what they depend on is shared with the tests'."""

    def __init__(self, path: Path, wheels: list[Path]):
        """Make it."""
        venv.create(path, with_pip=False, symlinks=True)
        self.bin = path / "bin"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install"),
                *("--quiet", "--no-deps", "--no-index", *map(str, wheels)),
            ],
            check=True,
        )
        # The editable installs there are files of their own kind, which a second level ignores.
        site = sysconfig.get_path("purelib", vars={"base": str(path)})
        installed = Path(np.__file__).parents[1]
        Path(site, "dependencies.pth").write_text(f"{installed}\n")
