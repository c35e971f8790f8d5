"""The files of a checkpoint that the steps around the engine read."""

import json
import shutil
from pathlib import Path

from build_engines.repository import RepositoryError
from guided_decoding.guide import GuideError
from guided_decoding.vocabulary import Vocabulary

VOCABULARIES = ("tokenizer.json", "tokenizer.model")
COPIED = (
    *VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    # Name the class of the tokenizer and the ids that end a reply.
    "config.json",
    "generation_config.json",
)
TOKENIZER_INFO = "xgrammar_tokenizer_info.json"


def copy_tokenizer(checkpoint: Path, destination: Path) -> None:
    """Copy the tokenizer, its chat template and the EOS ids, so that serving needs no network.

    Raises:
        RepositoryError: the checkpoint has no vocabulary.
    """
    if not any((checkpoint / name).is_file() for name in VOCABULARIES):
        raise RepositoryError(f"{checkpoint}: has no tokenizer ({' or '.join(VOCABULARIES)})")
    destination.mkdir(parents=True)
    for name in COPIED:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, destination / name)


def write_tokenizer_info(directory: Path) -> bool:
    """Write beside a tokenizer what TensorRT-LLM must know of it to guide replies.

    Returns:
        whether there is such a file; a tokenizer without tokenizer.json, or an end id, has none.
    """
    try:
        info = Vocabulary.load(directory).tokenizer_info()
    except GuideError:
        return False
    (directory / TOKENIZER_INFO).write_text(json.dumps(info), encoding="utf-8")
    return True
