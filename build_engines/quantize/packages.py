"""Where ModelOpt is: in this Python, as in TensorRT-LLM's container, or laid over it.

ModelOpt wants an older transformers than the project, so outside the container it is installed into
a directory of its own, with no more than the packages that differ (requirements.txt beside this
file). That directory comes first on PYTHONPATH of the process that runs ModelOpt, and of no other.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ROOT = Path(__file__).parents[2]
OVERLAY = Path(".run", "modelopt")
"""Where `make modelopt` puts the packages."""
MODELOPT_VERSION = "0.37"
"""The releases that TensorRT-LLM's pinned one asks for: nvidia-modelopt ~= 0.37.0."""


class ModelOptError(RuntimeError):
    """ModelOpt is not there or cannot be installed; the text says what to do."""


def python_path(overlay: Path = OVERLAY) -> list[str]:
    """Return what PYTHONPATH must begin with for a process that imports ModelOpt.

    Raises:
        ModelOptError: neither this Python nor `overlay` has it, in the version that fits.
    """
    try:
        found = version("nvidia-modelopt")
    except PackageNotFoundError:
        if not is_installed(overlay):
            raise ModelOptError(
                "NVIDIA ModelOpt is not there; run this in the tritonserver container that has "
                "TensorRT-LLM, or install it with `make modelopt`"
            ) from None
        return [str(overlay.absolute()), str(ROOT)]
    if not found.startswith(f"{MODELOPT_VERSION}."):
        raise ModelOptError(
            f"NVIDIA ModelOpt is {found}, but TensorRT-LLM's release needs {MODELOPT_VERSION}; "
            "install that, or remove it and use `make modelopt`"
        )
    return [str(ROOT)]


def is_installed(overlay: Path) -> bool:
    """Whether a directory holds what the requirements ask for now."""
    stamp = overlay / REQUIREMENTS.name
    return stamp.is_file() and stamp.read_bytes() == REQUIREMENTS.read_bytes()


def pinned(package: str) -> str:
    """Return the version of a package that the requirements ask for."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    (found,) = (line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
    return found


def install(overlay: Path = OVERLAY) -> None:
    """Install ModelOpt's packages into a directory, unless they are there.

    Raises:
        ModelOptError: pip cannot; the text has its reason.
    """
    if is_installed(overlay):
        return
    shutil.rmtree(overlay, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = [
        "--no-deps",
        "--no-compile",
        "--target",
        str(overlay),
        "--requirement",
        str(REQUIREMENTS),
    ]
    result = subprocess.run([*pip, *options], capture_output=True, text=True)  # noqa: S603
    if result.returncode != 0:
        shutil.rmtree(overlay, ignore_errors=True)
        reason = result.stderr.strip().splitlines()
        raise ModelOptError(
            f"ModelOpt cannot be installed: {reason[-1] if reason else 'pip failed'}"
        )
    shutil.copyfile(REQUIREMENTS, overlay / REQUIREMENTS.name)


def environment(overlay: Path = OVERLAY) -> dict[str, str]:
    """Return the variables of a process that imports ModelOpt and this project.

    Raises:
        ModelOptError: as of `python_path`.
    """
    inherited = os.environ.get("PYTHONPATH")
    paths = [*python_path(overlay), *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    try:
        install()
    except ModelOptError as error:
        sys.exit(f"error: {error}")
    print(OVERLAY)
