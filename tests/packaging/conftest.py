"""The wheels of both distributions, and environments that have nothing else of this repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".run", ".*_cache", ".hypothesis"),
    *("build", "*.egg-info", "__pycache__", "tests"),
)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels by the name of their distribution, built from a copy of the sources."""
    sources = tmp_path_factory.mktemp("sources") / "aeolus"
    shutil.copytree(ROOT, sources, ignore=NOT_COPIED)
    output = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", str(output), str(sources / "client"), str(sources)),
        ],
        check=True,
    )
    return {path.name.partition("-")[0]: path for path in output.glob("*.whl")}
