"""Preprocessors over small tokenizers of the two families."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from preprocessing.preprocessor import Preprocessor
from support.chat_templates import CHAT_TEMPLATES, save_chat_tokenizer
from support.tokenizers_for_tests import save_byte_level_bpe, save_sentencepiece_bpe

MAX_SEQ_LEN = 64
MAX_BEAM_WIDTH = 4


@pytest.fixture(scope="session")
def chat_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte-level BPE with a chat template and two EOS ids."""
    directory = tmp_path_factory.mktemp("chat")
    save_byte_level_bpe(directory)
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7]}))
    return directory


@pytest.fixture(scope="session")
def chat(chat_directory: Path) -> Preprocessor:
    """The preprocessor of `chat_directory`."""
    return Preprocessor.load(chat_directory, MAX_SEQ_LEN, MAX_BEAM_WIDTH, "reference")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Preprocessor:
    """SentencePiece-style BPE that begins with BOS and has no chat template."""
    directory = tmp_path_factory.mktemp("base")
    save_sentencepiece_bpe(directory)
    return Preprocessor.load(directory, MAX_SEQ_LEN, MAX_BEAM_WIDTH, "reference")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Preprocessor, Any]]:
    """By name of the five models: a preprocessor of its family, and Hugging Face's tokenizer."""
    made = {}
    for name in CHAT_TEMPLATES:
        directory = tmp_path_factory.mktemp(name)
        save_chat_tokenizer(name, directory)
        preprocessor = Preprocessor.load(directory, 4096, MAX_BEAM_WIDTH, "reference")
        made[name] = (preprocessor, AutoTokenizer.from_pretrained(directory))
    return made
