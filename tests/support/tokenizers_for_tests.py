"""Small tokenizers of the two families that the served models use, trained on the spot.

They are saved beside a checkpoint as Hugging Face saves them, with BOS and EOS of the checkpoints
that checkpoints.py makes, and with a chat template where the family's models have one.
"""

import json
import string
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

TEXT = [
    "the wind from the west is gentle and warm over the hills, where a zephyr met the mistral",
    "How much gold is too much gold? There is no such thing as too much gold.",
    "naïve café größer déjà vu — 東京 русский язык 🌬️ emoji, please! 0123456789",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


LLAMA_3_TOKENS = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")


def save_byte_level_bpe(
    directory: Path, vocab_size: int = 512, control_tokens: Sequence[str] = ("<|endoftext|>",)
) -> Tokenizer:
    """Byte-level BPE as of Llama 3 and StableLM, with a chat template.

    The first of `control_tokens` is BOS, id 0; the second, or else it, EOS.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*control_tokens, "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    _save(
        tokenizer,
        directory,
        bos_token=control_tokens[0],
        eos_token=[*control_tokens, control_tokens[0]][1],
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
    )
    return tokenizer


def save_sentencepiece_bpe(directory: Path, vocab_size: int = 512) -> Tokenizer:
    """SentencePiece-style BPE with byte fallback as of Llama 2 and Mistral; BOS 1, EOS 2."""
    plain = Tokenizer(models.BPE())
    plain.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    # Only plain text gets tokens of its own; the rest of Unicode is left to the bytes.
    plain.train_from_iterator(
        TEXT[:2], trainers.BpeTrainer(vocab_size=vocab_size - 259, show_progress=False)
    )
    trained = json.loads(plain.to_str())["model"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *byte_tokens,
        *sorted(trained["vocab"], key=trained["vocab"].get),
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge) for merge in trained["merges"]],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = plain.normalizer
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    _save(tokenizer, directory, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return tokenizer


def save_metaspace_bpe(directory: Path) -> Tokenizer:
    """The same family as newer checkpoints have it: only the first piece gets a blank."""
    tokenizer = save_sentencepiece_bpe(directory)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    _save(tokenizer, directory, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return tokenizer


def save_letters(directory: Path) -> Tokenizer:
    """A token for each of 26 letters and the space, so that texts tell tokens; BOS 1, EOS 2."""
    tokens = ["<unk>", "<s>", "</s>", " ", *string.ascii_lowercase]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.add_special_tokens(tokens[:3])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    _save(tokenizer, directory, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return tokenizer


def _save(tokenizer: Tokenizer, directory: Path, **special: str) -> None:
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    ).save_pretrained(directory)
