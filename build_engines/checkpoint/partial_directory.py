"""A directory that appears under its name when it is complete, or not at all."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ConversionError(RuntimeError):
    """The output cannot be written; the text names it, the reason and the remedy."""


@contextmanager
def partial_directory(output: Path, needed: int) -> Iterator[Path]:
    """A directory beside `output` that takes its name if all goes well, else is removed.

    Args:
        output: the name to take; must not exist.
        needed: bytes that will be written.

    Raises:
        ConversionError: the disk has no room or cannot be written to, or another process is
            writing the same output.
    """
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial, output):
            try:
                _empty(partial)
                if (free := shutil.disk_usage(partial).free) < needed:
                    raise OSError(errno.ENOSPC, f"its disk has {free:,} bytes free")
                yield partial
                _sync(partial)
                partial.rename(output)
                _sync(output.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise ConversionError(
            f"{output}: cannot be written: {error.strerror}; choose a place that may be written "
            f"to and takes {needed:,} bytes"
        ) from error


@contextmanager
def _locked(directory: Path, output: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConversionError(f"{output}: is being written by another process; wait for it") from (
            error
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _empty(directory: Path) -> None:
    """Remove what a process that was killed has left."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
