"""What a converted checkpoint was made from, with what result: manifest.json beside it."""

import hashlib
import json
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from build_engines.checkpoint.safetensors_file import FileDigest

MANIFEST_NAME = "manifest.json"
SNAPSHOT_NAME = "snapshot.json"
"""Written beside a fetched checkpoint: where it came from."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_READ_BYTES = 1 << 20


class ManifestError(ValueError):
    """A manifest is missing or malformed; the text names the file."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Snapshot(_Table):
    """A commit of a Hugging Face repository."""

    repository: str
    revision: str


class SourceFile(_Table):
    """An input as it was found: size in bytes, time of its last change in ns since 1970."""

    size: int
    modified_ns: int


class Source(_Table):
    """The checkpoint that was converted."""

    snapshot: Snapshot | None
    """None where the directory does not say where it came from."""
    files: dict[str, SourceFile]


class Conversion(_Table):
    """The choices that the output depends on."""

    model: str
    architecture: str
    tp_size: int
    dtype: str
    quantization: str
    use_parallel_embedding: bool
    kv_cache_dtype: str = "auto"
    calibration: str | None = None
    """SHA-256 of the text that quantized weights were calibrated on."""


class Manifest(_Table):
    """The content of manifest.json."""

    aeolus_version: str
    source: Source
    conversion: Conversion
    files: dict[str, FileDigest]
    """Every file of the directory but this one."""

    @classmethod
    def of(cls, source: Source, conversion: Conversion, directory: Path) -> Self:
        """Describe a finished directory; every file of it is read and hashed.

        Raises:
            OSError: a file cannot be read.
        """
        files = {path.name: digest(path) for path in sorted(directory.iterdir()) if path.is_file()}
        own = version("aeolus")
        return cls(aeolus_version=own, source=source, conversion=conversion, files=files)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the manifest of a directory.

        Raises:
            ManifestError: there is none, or it is malformed.
        """
        path = directory / MANIFEST_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ManifestError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            raise ManifestError(f"{path}: no manifest of a conversion: {error}") from error

    def write(self, directory: Path) -> None:
        """Write manifest.json into a directory that has none, down to the disk.

        Raises:
            OSError: it cannot be written.
        """
        write_text(directory / MANIFEST_NAME, json.dumps(self.model_dump(), indent=2) + "\n")


def describe_source(checkpoint: Path, files: list[Path]) -> Source:
    """Describe the inputs of a conversion.

    Raises:
        OSError: a file cannot be examined.
    """
    stats = {file.name: file.stat() for file in files}
    return Source(
        snapshot=_snapshot_of(checkpoint),
        files={
            name: SourceFile(size=stat.st_size, modified_ns=stat.st_mtime_ns)
            for name, stat in stats.items()
        },
    )


def _snapshot_of(checkpoint: Path) -> Snapshot | None:
    """From the note of a fetch, else from a path in the cache of huggingface_hub."""
    try:
        return Snapshot.model_validate_json((checkpoint / SNAPSHOT_NAME).read_bytes())
    except (OSError, ValidationError):
        pass
    directory = checkpoint.resolve()
    if _COMMIT.fullmatch(directory.name) and directory.parent.name == "snapshots":
        kind, *repository = directory.parent.parent.name.split("--")
        if kind == "models":
            return Snapshot(repository="/".join(repository), revision=directory.name)
    return None


def write_text(path: Path, text: str) -> FileDigest:
    """Write a new file down to the disk.

    Raises:
        OSError: it exists, or cannot be written.
    """
    data = text.encode()
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return FileDigest(len(data), hashlib.sha256(data).hexdigest())


def digest(path: Path) -> FileDigest:
    """Hash a file.

    Raises:
        OSError: it cannot be read.
    """
    sha256 = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            sha256.update(data)
            size += len(data)
    return FileDigest(size, sha256.hexdigest())
