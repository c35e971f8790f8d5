"""A checkpoint's tokenizer, its chat template, and the ids that end a reply."""

import json
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from preprocessing.errors import InvalidRequestError


class TokenizerError(ValueError):
    """The checkpoint's tokenizer can not be used; the text names the directory and the reason."""


class Tokenizer:
    """Encodes prompts the way the checkpoint was trained on them."""

    def __init__(self, directory: Path):
        """Load from a Hugging Face checkpoint directory; nothing is downloaded.

        Raises:
            TokenizerError: there is no tokenizer in it, or no id that ends a reply is known.
        """
        try:
            self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise TokenizerError(f"{directory}: no tokenizer can be loaded: {error}") from error
        self.eos_ids = _eos_ids(directory) or _ids(self._tokenizer.eos_token_id)
        if not self.eos_ids:
            raise TokenizerError(f"{directory}: neither its configs nor its tokenizer name an EOS")
        pad_id = self._tokenizer.pad_token_id
        self.pad_id: int = self.eos_ids[0] if pad_id is None else pad_id
        self.vocab_size = len(self._tokenizer)

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return a conversation as one prompt, special tokens and the reply's heading in it.

        Raises:
            InvalidRequestError: the checkpoint has no template, or the template refuses.
        """
        if self._tokenizer.chat_template is None:
            raise InvalidRequestError(
                "this model's checkpoint has no chat template, so it takes no messages; "
                "send the whole prompt as text_input"
            )
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            )
        except TemplateError as error:
            raise InvalidRequestError(
                f"the chat template of this model refuses the messages: {error}"
            ) from error

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Encode a text, after BOS where `add_special_tokens` and the checkpoint has it so."""
        encoding = self._tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)
        return list(encoding["input_ids"])


def _eos_ids(directory: Path) -> list[int]:
    """Return all EOS ids of generation_config.json, else of config.json, the first one first."""
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        if path.is_file():
            try:
                content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise TokenizerError(f"{path}: {error}") from error
            if ids := _ids(content.get("eos_token_id")):
                return ids
    return []


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
