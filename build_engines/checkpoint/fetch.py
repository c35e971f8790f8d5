"""Fetching a checkpoint from the Hugging Face Hub: the files that are used, and no others."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    GatedRepoError,
    HTTPError,  # of whichever library huggingface_hub speaks HTTP with
    RepositoryNotFoundError,
)

from build_engines.checkpoint.huggingface_config import read_huggingface_config
from build_engines.checkpoint.huggingface_weights import open_weights
from build_engines.checkpoint.manifest import SNAPSHOT_NAME, Snapshot
from build_engines.checkpoint.tokenizer_files import COPIED
from catalog import ModelEntry

# One format of the weights, not the copies that a repository may keep in others.
_WEIGHTS = tuple(
    re.compile(rf"{stem}(-\d+-of-\d+)?\.{suffix}(\.index\.json)?")
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin"))
)


class FetchError(RuntimeError):
    """A checkpoint cannot be fetched; the text says why and what to do."""


def fetch(
    model: ModelEntry,
    destination: Path,
    *,
    revision: str = "main",
    token: str | None = None,
    endpoint: str | None = None,
    allow_pickle: bool = False,
) -> Snapshot:
    """Download a model's checkpoint; files that are there already are not downloaded again.

    A connection that breaks is taken up where it broke.

    Args:
        model: names the repository.
        destination: directory for the files.
        revision: branch, tag or commit; resolved to a commit, which is noted beside the files.
        token: of a Hugging Face account; by default HF_TOKEN or what `hf auth login` has stored.
        endpoint: address of the hub; by default HF_ENDPOINT or the public one.
        allow_pickle: take PyTorch's .bin files where there are no safetensors.

    Raises:
        FetchError: the hub cannot be reached or refuses, or the disk has no room.
        CheckpointError: what was fetched is not a checkpoint that can be converted.
    """
    note = destination / SNAPSHOT_NAME
    try:
        api = HfApi(endpoint=endpoint, token=token)
        info = api.model_info(model.checkpoint, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        names = select_files(sizes)
        if not names or not info.sha:
            raise FetchError(f"{model.checkpoint}: its repository holds no weights")
        if not allow_pickle and any(name.endswith(".bin") for name in names):
            raise FetchError(
                f"{model.checkpoint}: its weights are pickles (.bin), which are fetched only with "
                "--allow-pickle; better take a revision with safetensors"
            )
        destination.mkdir(parents=True, exist_ok=True)
        _require_room(destination, {name: sizes[name] for name in names})
        note.unlink(missing_ok=True)
        snapshot_download(
            model.checkpoint,
            revision=info.sha,
            local_dir=destination,
            allow_patterns=names,
            token=token,
            endpoint=endpoint,
        )
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise FetchError(_access_text(model)) from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or repr(error)
        raise FetchError(
            f"{model.checkpoint}: {reason}; run this again, files that are complete are kept"
        ) from error
    read_huggingface_config(destination)
    open_weights(destination, allow_pickle)
    snapshot = Snapshot(repository=model.checkpoint, revision=info.sha)
    note.write_text(snapshot.model_dump_json() + "\n", encoding="utf-8")
    return snapshot


def select_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files, those that conversion and serving read; none without weights.

    Safetensors are preferred, as they can be read piece by piece and hold no code.
    """
    listed = sorted(names)
    for weights in _WEIGHTS:
        if found := [name for name in listed if weights.fullmatch(name)]:
            return found + [name for name in listed if name in COPIED]
    return []


def _require_room(destination: Path, sizes: dict[str, int]) -> None:
    missing = sum(size for name, size in sizes.items() if not (destination / name).is_file())
    if (free := shutil.disk_usage(destination).free) < missing:
        raise FetchError(
            f"{destination}: needs {missing:,} bytes, but its disk has {free:,} free; "
            "choose another destination"
        )


def _access_text(model: ModelEntry) -> str:
    page = f"https://huggingface.co/{model.checkpoint}"
    if not model.gated:
        return (
            f"{model.checkpoint}: not found, or not public; see {page}, and set HF_TOKEN to the "
            "token of an account that may read it"
        )
    steps = (
        f"accept the licence on {page}, create a token that may read gated repositories in your "
        "account's settings, and set HF_TOKEN to it"
    )
    if "HF_TOKEN" in os.environ:
        return f"{model.checkpoint}: the account of HF_TOKEN has no access; {steps}"
    return f"{model.checkpoint}: is only for accounts that accepted its licence; {steps}"
