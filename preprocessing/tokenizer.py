"""A checkpoint's tokenizer, its chat template, and the ids that end a reply."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from aeolus_contract.checkpoint import CheckpointFileError, eos_token_ids, vocab_size
from aeolus_contract.failures import InvalidRequestError
from preprocessing.control_tokens import ControlTokens, unmasked


class TokenizerError(ValueError):
    """The checkpoint's tokenizer cannot be used; the text names the directory and the reason."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt to be tokenized."""

    text: str
    add_special_tokens: bool = False
    """Whether BOS comes first, where the checkpoint has it so and the text does not yet."""
    split_special_tokens: bool = False
    """Whether what spells a control token is text; aliases are control tokens in any case."""


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
        self._bos = self._bos_put_before("a")
        self._control_tokens = ControlTokens(
            self._tokenizer.backend_tokenizer, {*self.eos_ids, *self._tokenizer.all_special_ids}
        )

    def render(
        self,
        messages: list[dict[str, str]],
        *,
        split_special_tokens: bool = True,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> PromptText:
        """Return a conversation as one prompt, with the control tokens of the chat template.

        Args:
            messages: the conversation.
            split_special_tokens: whether control tokens that a message spells are text.
            add_generation_prompt: whether the heading of a reply follows.
            continue_final_message: whether the prompt ends with the text of the last message
                instead, which the reply continues.

        Raises:
            InvalidRequestError: the checkpoint has no template, or the template refuses or leaves
                out a message.
        """
        if self._tokenizer.chat_template is None:
            raise InvalidRequestError(
                "this model's checkpoint has no chat template, so it takes no messages; "
                "send the whole prompt as text_input"
            )
        texts = [text for message in messages for text in message.values()]
        mask = self._control_tokens.mask_for(texts if split_special_tokens else [])
        masked = [
            {name: self._control_tokens.masked(text, mask) for name, text in message.items()}
            for message in messages
        ]
        try:
            rendered = str(
                self._tokenizer.apply_chat_template(
                    masked,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                )
            )
        except TemplateError as error:
            reason = unmasked(str(error), mask)
            raise InvalidRequestError(
                f"the chat template of this model refuses the messages: {reason}"
            ) from error
        except ValueError as error:  # of a template that does not write the last message
            reason = unmasked(str(error), mask)
            raise InvalidRequestError(f"the last message cannot be continued: {reason}") from error
        for number, (message, text) in enumerate(zip(messages, masked, strict=True)):
            if text["content"].strip() not in rendered:
                raise InvalidRequestError(
                    f"the chat template of this model leaves out messages[{number}], whose role is "
                    f"{message['role']!r}; send the roles that it knows, in the order it wants"
                )
        marked = self._control_tokens.mark(rendered, mask)
        return PromptText(marked, split_special_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Encode a text as it stands, without special tokens around it."""
        encoding = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return list(encoding["input_ids"])

    def encode_prompts(self, prompts: Sequence[PromptText]) -> list[list[int]]:
        """Encode prompts, those of one kind in one call."""
        encoded: list[list[int]] = [[]] * len(prompts)
        kinds = {(prompt.add_special_tokens, prompt.split_special_tokens) for prompt in prompts}
        for add_special_tokens, split_special_tokens in kinds:
            kind = (add_special_tokens, split_special_tokens)
            numbers = [
                number
                for number, prompt in enumerate(prompts)
                if (prompt.add_special_tokens, prompt.split_special_tokens) == kind
            ]
            encodings = self._tokenizer(
                [prompts[number].text for number in numbers],
                add_special_tokens=add_special_tokens,
                split_special_tokens=split_special_tokens,
                verbose=False,
            )
            for number, ids in zip(numbers, encodings["input_ids"], strict=True):
                real_ids = self._control_tokens.real_ids(ids)
                encoded[number] = self._with_one_bos(real_ids) if add_special_tokens else real_ids
        return encoded

    def _with_one_bos(self, ids: list[int]) -> list[int]:
        """Drop the BOS that was put before a text which begins with one."""
        return ids[1:] if ids[:1] == ids[1:2] == self._bos else ids

    def _bos_put_before(self, text: str) -> list[int]:
        """Return the one token that is put before a text, or none."""
        plain, whole = self.encode(text), list(self._tokenizer(text)["input_ids"])
        return whole[:1] if whole[1 : 1 + len(plain)] == plain else []

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens, special ones included."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
