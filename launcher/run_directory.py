"""Where logs, backends and assembled repositories go."""

import os
import tempfile
from pathlib import Path

VARIABLE = "AEOLUS_RUN_DIRECTORY"
DEFAULT = Path(".run")


class RunDirectoryError(RuntimeError):
    """The chosen directory cannot be written; the text names it."""


def find_run_directory(given: Path | None, port: int) -> Path:
    """Return a directory of this service's own, created if missing.

    Args:
        given: the directory above it; else the environment variable AEOLUS_RUN_DIRECTORY, else
            `.run` in the working directory, else, where that cannot be written, `aeolus-<uid>` in
            the directory for temporary files.
        port: the shim's: services on several ports share the directory above.

    Raises:
        RunDirectoryError: `given` or the variable names a directory that cannot be written.
    """
    if given is None and (value := os.environ.get(VARIABLE)):
        given = Path(value)
    if given is not None:
        try:
            return _prepare(given / str(port))
        except OSError as error:
            raise RunDirectoryError(
                f"{given} cannot be written: {error.strerror}; choose another run directory with "
                f"--run-directory or {VARIABLE}"
            ) from error
    temporary = Path(tempfile.gettempdir()) / f"aeolus-{os.getuid()}"
    try:
        return _prepare(DEFAULT / str(port))
    except OSError:
        pass
    try:
        return _prepare(temporary / str(port))
    except OSError as error:
        raise RunDirectoryError(
            f"neither {DEFAULT.absolute()} nor {temporary} can be written: {error.strerror}; "
            f"choose a run directory with --run-directory or {VARIABLE}"
        ) from error


def _prepare(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
        return directory
