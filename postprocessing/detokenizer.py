"""Text from tokens as they come: never a broken character, and the same text as all at once.

For any way to cut a sequence of tokens, what `push` returned, with `pending` at the end, is what
huggingface/tokenizers decodes from the whole sequence. The cost of a token does not depend on the
tokens before it.
"""

import codecs
from collections.abc import Sequence
from typing import Protocol

from postprocessing.vocabulary import ByteFallbackVocabulary, ByteLevelVocabulary, Vocabulary

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer(Protocol):
    """The text of one sequence."""

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; return the text that is certain now."""

    @property
    def pending(self) -> str:
        """The text still to come if the sequence ends here."""


def token_text(vocabulary: Vocabulary, token_id: int) -> str:
    r"""Return the text of a token by itself, "" of an unknown one.

    Of a part of a character only its bytes can be told, in OpenAI's notation: `bytes:\xf0\x9f`.
    """
    piece = vocabulary.pieces.get(token_id, "")
    if isinstance(piece, str):
        return piece
    content = bytes([piece]) if isinstance(piece, int) else piece
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


def detokenizer_of(vocabulary: Vocabulary, skip_special_tokens: bool) -> Detokenizer:
    """Return a fresh detokenizer for a sequence."""
    if isinstance(vocabulary, ByteLevelVocabulary):
        return ByteLevelDetokenizer(vocabulary, skip_special_tokens)
    return ByteFallbackDetokenizer(vocabulary, skip_special_tokens)


class ByteLevelDetokenizer:
    """Byte-level BPE: holds back the bytes of an incomplete character."""

    def __init__(self, vocabulary: ByteLevelVocabulary, skip_special_tokens: bool):
        self._pieces = vocabulary.pieces
        self._skipped = vocabulary.special_ids if skip_special_tokens else frozenset()
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; return the text that is certain now. Unknown ids are skipped."""
        return self._utf8.decode(
            b"".join(
                self._pieces.get(token_id, b"")
                for token_id in token_ids
                if token_id not in self._skipped
            )
        )

    @property
    def pending(self) -> str:
        """The text still to come if the sequence ends here: one replacement character or none."""
        held_back, _ = self._utf8.getstate()
        return held_back.decode("utf-8", errors="replace")


class ByteFallbackDetokenizer:
    """SentencePiece-style BPE: holds back a run of single bytes until a token with text ends it.

    Only then is the run known to be valid UTF-8: it is decoded as a whole, and if it is not valid
    every byte of it becomes a replacement character
    (huggingface/tokenizers, tokenizers/src/decoders/byte_fallback.rs).
    """

    def __init__(self, vocabulary: ByteFallbackVocabulary, skip_special_tokens: bool):
        self._pieces = vocabulary.pieces
        self._skipped = vocabulary.special_ids if skip_special_tokens else frozenset()
        self._strips_next_space = vocabulary.strips_leading_space
        self._run = bytearray()

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; return the text that is certain now. Unknown ids are skipped."""
        texts: list[str] = []
        for token_id in token_ids:
            piece = None if token_id in self._skipped else self._pieces.get(token_id)
            if isinstance(piece, int):
                self._run.append(piece)
            elif piece is not None:
                if self._run:
                    texts.append(_text_of_run(self._run))
                    self._run.clear()
                texts.append(piece)
        unstripped = "".join(texts)
        text = self._stripped(unstripped)
        if unstripped:  # also where the blank that was stripped is all there was
            self._strips_next_space = False
        return text

    @property
    def pending(self) -> str:
        """The text still to come if the sequence ends here: that of the byte run."""
        return self._stripped(_text_of_run(self._run))

    def _stripped(self, text: str) -> str:
        return text[1:] if self._strips_next_space and text.startswith(" ") else text


def _text_of_run(run: bytearray) -> str:
    try:
        return run.decode("utf-8")
    except UnicodeDecodeError:
        return REPLACEMENT * len(run)
