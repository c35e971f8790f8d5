"""A checkpoint's tokens as xgrammar takes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeolus_contract import checkpoint
from guided_decoding.guide import GuideError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a model, by id.

    A token that stands for no text is empty, special tokens among them: xgrammar lets none of these
    come, and would take a special token for the characters of its name.
    """

    tokens: list[str]
    """As the tokenizer spells them, `vocab_size` of them."""
    tokenizer: str
    """The content of tokenizer.json, by which they are decoded."""
    end_ids: list[int]
    """The tokens that end a reply."""

    @classmethod
    def load(cls, directory: Path, vocab_size: int | None = None) -> "Vocabulary":
        """Read the tokenizer of a Hugging Face checkpoint.

        Args:
            directory: the checkpoint's.
            vocab_size: of the model; if None its config.json's, otherwise the tokenizer's.

        Raises:
            GuideError: the checkpoint has no tokenizer.json that can be read, or names no end of a
                reply.
        """
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise GuideError(f"guided decoding needs {path}, and there is none")
        text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
            added = content.get("added_tokens") or []
            ids = _ids_of(content["model"]["vocab"])
            ids |= {each["content"]: each["id"] for each in added}
            special = {each["id"] for each in added if each["special"]}
        except (ValueError, KeyError) as error:
            raise GuideError(f"{path}: no tokenizer of tokens by id: {error!r}") from error
        size = vocab_size or checkpoint.vocab_size(directory) or max(ids.values()) + 1
        tokens = [""] * size
        for token, token_id in ids.items():
            if token_id < size and token_id not in special:
                tokens[token_id] = token
        return cls(tokens, text, _end_ids(directory, ids))

    def tokenizer_info(self) -> dict[str, Any]:
        """Return what TensorRT-LLM's executor is given of the vocabulary.

        Source: NVIDIA/TensorRT-LLM, tensorrt_llm/tokenizer, `_xgrammar_tokenizer_info`, which names
        one end id, leaves gaps between the ids out, and special tokens in.
        """
        return {
            "encoded_vocab": self.tokens,
            "tokenizer_str": self.tokenizer,
            "stop_token_ids": self.end_ids,
        }


def _ids_of(vocab: dict[str, int] | list[Any]) -> dict[str, int]:
    """Return the ids by token; Unigram models list pairs of token and score instead."""
    if isinstance(vocab, dict):
        return dict(vocab)
    return {token: token_id for token_id, (token, _) in enumerate(vocab)}


def _end_ids(directory: Path, ids: dict[str, int]) -> list[int]:
    """Return the ids that end a reply: the checkpoint's, or the tokenizer's where it names none."""
    if named := checkpoint.eos_token_ids(directory):
        return named
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    token = config.get("eos_token")
    content = token["content"] if isinstance(token, dict) else token
    if content not in ids:
        raise GuideError(f"{directory}: neither its configs nor its tokenizer name an EOS")
    return [ids[content]]
