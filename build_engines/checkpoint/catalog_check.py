"""Whether a checkpoint is the one that its catalog entry describes, as far as both say the same."""

from collections.abc import Iterator
from pathlib import Path

from aeolus_contract.checkpoint import CheckpointFileError, eos_token_ids, vocab_size
from build_engines.checkpoint.huggingface_config import CheckpointError
from catalog import ModelEntry


def catalog_differences(model: ModelEntry, checkpoint: Path) -> list[str]:
    """Compare the ids that end a reply, and the vocabulary; each text says both values.

    The checkpoint's are what the service acts by: another revision, or a model trained further, may
    well differ. Plans are made with the catalog's vocabulary.

    Args:
        model: the catalog's entry.
        checkpoint: a Hugging Face checkpoint directory.

    Raises:
        CheckpointError: a file of the checkpoint is not JSON.
    """
    try:
        return list(_differences(model, checkpoint))
    except CheckpointFileError as error:
        raise CheckpointError(str(error)) from error


def _differences(model: ModelEntry, checkpoint: Path) -> Iterator[str]:
    found, known = sorted(eos_token_ids(checkpoint)), sorted(model.eos_token_ids)
    if found != known:
        yield (
            f"{checkpoint}: its EOS ids are {_list(found)}, those of {model.name} in the catalog "
            f"{_list(known)}; replies will end at the checkpoint's, so take the revision that the "
            "catalog is for, or correct its generation_config.json"
        )
    size = vocab_size(checkpoint)
    if size != model.shape.vocab_size:
        yield (
            f"{checkpoint}: its vocabulary is {size}, that of {model.name} in the catalog "
            f"{model.shape.vocab_size}; sizes of the plan are not this checkpoint's"
        )


def _list(ids: list[int]) -> str:
    return ", ".join(map(str, ids)) or "none"
