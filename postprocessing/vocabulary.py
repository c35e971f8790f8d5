"""What each token id adds to the text, read once from a checkpoint's tokenizer.json.

Two families are known, by the decoder that the file names (huggingface/tokenizers,
tokenizers/src/decoders): byte-level BPE, whose tokens are bytes (Llama 3, StableLM), and
SentencePiece-style BPE with byte fallback, whose tokens are text but for the 256 single bytes
(Llama 2, Mistral, Zephyr).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeolus_contract.checkpoint import CheckpointFileError, eos_token_ids

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class UnsupportedTokenizerError(ValueError):
    """The checkpoint's tokenizer cannot be decoded; the text says which part of it."""


@dataclass(frozen=True, slots=True)
class ByteLevelVocabulary:
    """Byte-level BPE: the bytes of each id."""

    pieces: dict[int, bytes]
    special_ids: frozenset[int]
    hidden_end_ids: frozenset[int]
    """The ids that end a reply, but for the first, which the engine keeps to itself."""


@dataclass(frozen=True, slots=True)
class ByteFallbackVocabulary:
    """SentencePiece-style BPE: the text of each id, or the one byte it stands for."""

    pieces: dict[int, str | int]
    special_ids: frozenset[int]
    hidden_end_ids: frozenset[int]
    strips_leading_space: bool


Vocabulary = ByteLevelVocabulary | ByteFallbackVocabulary


def load_vocabulary(tokenizer_dir: Path) -> Vocabulary:
    """Read `tokenizer.json`, and the ids that end a reply from the checkpoint's configs.

    The latter count as special: some checkpoints end replies with more than one id, of which the
    engine leaves all but the first in its output.

    Raises:
        UnsupportedTokenizerError: the file is missing or is of neither family.
    """
    path = tokenizer_dir / "tokenizer.json"
    try:
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedTokenizerError(f"{path}: {error}") from error
    if (model := tokenizer["model"].get("type", "BPE")) != "BPE":
        raise UnsupportedTokenizerError(f"{path}: its model is {model}; known is BPE")
    tokens = _token_texts(tokenizer)
    try:
        eos_ids = eos_token_ids(tokenizer_dir)
    except CheckpointFileError as error:
        raise UnsupportedTokenizerError(str(error)) from error
    special_ids = frozenset(
        added["id"] for added in tokenizer.get("added_tokens", []) if added["special"]
    ) | set(eos_ids)
    hidden_end_ids = frozenset(eos_ids[1:])
    decoders = _decoders(tokenizer.get("decoder"))
    kinds = [decoder["type"] for decoder in decoders]
    if kinds == ["ByteLevel"]:
        return ByteLevelVocabulary(
            {token_id: _byte_level_piece(text) for token_id, text in tokens.items()},
            special_ids,
            hidden_end_ids,
        )
    if kinds in (
        ["Replace", "ByteFallback", "Fuse"],
        ["Replace", "ByteFallback", "Fuse", "Strip"],
    ):
        blank = decoders[0]["pattern"].get("String", "▁"), decoders[0]["content"]
        return ByteFallbackVocabulary(
            {token_id: _byte_fallback_piece(text, *blank) for token_id, text in tokens.items()},
            special_ids,
            hidden_end_ids,
            strips_leading_space=_strips_leading_space(path, decoders),
        )
    raise UnsupportedTokenizerError(
        f"{path}: its decoder is {kinds or 'missing'}; known are ByteLevel, and "
        "Replace, ByteFallback, Fuse with or without Strip"
    )


def _token_texts(tokenizer: dict[str, Any]) -> dict[int, str]:
    texts = {token_id: text for text, token_id in tokenizer["model"]["vocab"].items()}
    texts.update((added["id"], added["content"]) for added in tokenizer.get("added_tokens", []))
    return texts


def _decoders(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _strips_leading_space(path: Path, decoders: list[dict[str, Any]]) -> bool:
    if len(decoders) < 4:
        return False
    strip = decoders[3]
    if (strip["content"], strip["start"], strip["stop"]) != (" ", 1, 0):
        raise UnsupportedTokenizerError(f"{path}: its decoder strips {strip}; known is one blank")
    return True


def _byte_fallback_piece(text: str, blank: str, replacement: str) -> str | int:
    byte = BYTE_TOKEN.fullmatch(text)
    return int(byte[1], 16) if byte else text.replace(blank, replacement)


def _byte_level_piece(text: str) -> bytes:
    """Map GPT-2's printable stand-ins back to bytes; text that has others stands for itself."""
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in text)
    except KeyError:
        return text.encode()


def _byte_of_character() -> dict[str, int]:
    """Return GPT-2's alphabet: printable Latin-1 is itself, other bytes follow from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


BYTE_OF_CHARACTER = _byte_of_character()
