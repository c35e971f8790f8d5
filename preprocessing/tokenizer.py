"""A checkpoint's tokenizer, its chat template, and the ids that end a reply."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from aeolus_contract.checkpoint import CheckpointFileError, eos_token_ids, vocab_size
from aeolus_contract.failures import InvalidRequestError


class TokenizerError(ValueError):
    """The checkpoint's tokenizer cannot be used; the text names the directory and the reason."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt to be tokenized."""

    text: str
    add_special_tokens: bool
    """Whether BOS comes first, where the checkpoint has it so."""


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
        try:
            self.eos_ids = eos_token_ids(directory) or _ids(self._tokenizer.eos_token_id)
            self.vocab_size = vocab_size(directory) or len(self._tokenizer)
        except CheckpointFileError as error:
            raise TokenizerError(str(error)) from error
        if not self.eos_ids:
            raise TokenizerError(f"{directory}: neither its configs nor its tokenizer name an EOS")
        pad_id = self._tokenizer.pad_token_id
        self.pad_id: int = self.eos_ids[0] if pad_id is None else pad_id

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return a conversation as one prompt, special tokens and the reply's heading in it.

        Raises:
            InvalidRequestError: the checkpoint has no template, or the template refuses or leaves
                out a message.
        """
        if self._tokenizer.chat_template is None:
            raise InvalidRequestError(
                "this model's checkpoint has no chat template, so it takes no messages; "
                "send the whole prompt as text_input"
            )
        try:
            prompt = str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            )
        except TemplateError as error:
            raise InvalidRequestError(
                f"the chat template of this model refuses the messages: {error}"
            ) from error
        for number, message in enumerate(messages):
            if message["content"].strip() not in prompt:
                raise InvalidRequestError(
                    f"the chat template of this model leaves out messages[{number}], whose role is "
                    f"{message['role']!r}; send the roles that it knows, in the order it wants"
                )
        return prompt

    def encode(self, text: str) -> list[int]:
        """Encode a text as it stands, without special tokens around it."""
        encoding = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return list(encoding["input_ids"])

    def encode_prompts(self, prompts: Sequence[PromptText]) -> list[list[int]]:
        """Encode prompts, those of one kind in one call."""
        encoded: list[list[int]] = [[]] * len(prompts)
        for special in {prompt.add_special_tokens for prompt in prompts}:
            numbers = [
                number
                for number, prompt in enumerate(prompts)
                if prompt.add_special_tokens == special
            ]
            texts = [prompts[number].text for number in numbers]
            encodings = self._tokenizer(texts, add_special_tokens=special, verbose=False)
            for number, ids in zip(numbers, encodings["input_ids"], strict=True):
                encoded[number] = list(ids)
        return encoded

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens, special ones included."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
