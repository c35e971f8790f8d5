"""Facts of a Hugging Face checkpoint that more than one step acts by."""

import json
from pathlib import Path
from typing import Any


class CheckpointFileError(ValueError):
    """A configuration of the checkpoint cannot be read; the text names the file and the reason."""


def eos_token_ids(directory: Path) -> list[int]:
    """Return the ids that end a reply, the engine's `end_id` first; empty if no file names one.

    generation_config.json goes before config.json, as in transformers; a file that names none
    (null or an empty list) does not count.

    Raises:
        CheckpointFileError: a file is not JSON.
    """
    for name in ("generation_config.json", "config.json"):
        value = _read(directory / name).get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if ids:
            return ids
    return []


def vocab_size(directory: Path) -> int | None:
    """Return the number of the model's logits: more than the tokenizer's tokens where padded.

    Raises:
        CheckpointFileError: config.json is not JSON.
    """
    size: int | None = _read(directory / "config.json").get("vocab_size")
    return size


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointFileError(f"{path}: {error}") from error
    return content
