"""Where the tritonserver of this machine is, and what it needs to run.

Two are known: the container's `/opt/tritonserver`, and the wheel nvidia-pytriton, of which only
the server binary, the Python backend and its stubs are used.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

CONTAINER_ROOT = Path("/opt/tritonserver")


class InstallationError(RuntimeError):
    """This machine has no tritonserver that can run; the text says what to install."""


@dataclass(frozen=True, slots=True)
class TritonInstallation:
    """A server binary, its backends, and the environment to start it with."""

    executable: Path
    backend_directory: Path
    environment: dict[str, str]


def find_installation(run_directory: Path) -> TritonInstallation:
    """Return the container's server where there is one, else the wheel's.

    Args:
        run_directory: where the wheel's backend directory is prepared (created if missing).

    Raises:
        InstallationError: neither is present, or the wheel lacks this Python's stub.
    """
    if (CONTAINER_ROOT / "bin" / "tritonserver").is_file():
        return TritonInstallation(
            executable=CONTAINER_ROOT / "bin" / "tritonserver",
            backend_directory=CONTAINER_ROOT / "backends",
            environment=_python_first_on_path(os.environ),
        )
    return _from_wheel(run_directory)


def _from_wheel(run_directory: Path) -> TritonInstallation:
    package = importlib.util.find_spec("pytriton")
    if package is None or package.origin is None:
        raise InstallationError(
            f"no tritonserver found: there is no {CONTAINER_ROOT}, and the wheel nvidia-pytriton "
            "is not installed in this Python environment; `make install` installs it"
        )
    site_packages = Path(package.origin).parent.parent
    root = site_packages / "pytriton" / "tritonserver"
    environment = _python_first_on_path(os.environ)
    library_directories = [
        str(site_packages / "nvidia_pytriton.libs"),
        str(_libpython_directory()),
        environment.get("LD_LIBRARY_PATH", ""),
    ]
    environment["LD_LIBRARY_PATH"] = ":".join(filter(None, library_directories))
    return TritonInstallation(
        executable=root / "bin" / "tritonserver",
        backend_directory=_prepare_backends(root, run_directory.resolve() / "backends"),
        environment=environment,
    )


def _prepare_backends(root: Path, destination: Path) -> Path:
    """Put the stub of the running Python beside the Python backend, where Triton looks for it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stub.parent.parent.iterdir()))
        raise InstallationError(
            f"nvidia-pytriton has no Python backend stub for Python {version}; it has {known}"
        )
    # Anew each time: the stub of a server that was killed a moment ago may still be busy.
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(root / "backends" / "python", destination / "python")
    shutil.copy2(stub, destination / "python" / stub.name)
    return destination


def _libpython_directory() -> Path:
    """The stub is linked against libpythonX.Y.so.1.0, which a static Python build lacks."""
    library = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    directories = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch and directories[0]:
        directories.append(f"{directories[0]}/{multiarch}")
    for directory in filter(None, directories):
        if (Path(directory) / library).exists():
            return Path(directory)
    raise InstallationError(
        f"the Python backend needs {library}, which this Python ({sys.executable}) comes without; "
        f"install it (Debian: libpython{sys.version_info.major}.{sys.version_info.minor}) or use a "
        "Python built with --enable-shared"
    )


def _python_first_on_path(base: "os._Environ[str]") -> dict[str, str]:
    """The stub embeds Python and takes its packages from the first `python3` on PATH."""
    environment = dict(base)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', os.defpath)}"
    return environment
