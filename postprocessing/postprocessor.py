"""One engine response to text."""

from dataclasses import dataclass
from pathlib import Path

from postprocessing.detokenizer import detokenizer_of
from postprocessing.streams import StreamKey, Streams
from postprocessing.vocabulary import load_vocabulary


@dataclass(frozen=True, slots=True)
class ResponseText:
    """The text of a response, one string a beam."""

    text: list[str]
    pending: list[str]
    """What the end of the stream would add, which only the receiver of the last response knows."""


class Postprocessor:
    """Turns responses of the engine into text; responses of one stream must come in order."""

    def __init__(self, tokenizer_dir: Path, streams: Streams | None = None):
        """Read the tokenizer.

        Raises:
            UnsupportedTokenizerError: it is missing or of no known family.
        """
        self._vocabulary = load_vocabulary(tokenizer_dir)
        self._streams = Streams() if streams is None else streams

    def text_of(
        self, beams: list[list[int]], stream: StreamKey | None, skip_special_tokens: bool
    ) -> ResponseText:
        """Decode a response.

        Args:
            beams: the new token ids of a stream, as its only beam; or all ids of every beam.
            stream: which stream the response is a part of; `None` for a whole reply.
            skip_special_tokens: whether special tokens show in the text.
        """
        if stream is None or len(beams) > 1:
            texts = [self._whole_text(tokens, skip_special_tokens) for tokens in beams]
            return ResponseText(texts, [""] * len(texts))
        return self._next_text(beams[0], stream, skip_special_tokens)

    def _whole_text(self, tokens: list[int], skip_special_tokens: bool) -> str:
        detokenizer = detokenizer_of(self._vocabulary, skip_special_tokens)
        return detokenizer.push(tokens) + detokenizer.pending

    def _next_text(
        self, tokens: list[int], stream: StreamKey, skip_special_tokens: bool
    ) -> ResponseText:
        detokenizer = self._streams.get(
            stream, lambda: detokenizer_of(self._vocabulary, skip_special_tokens)
        )
        if not tokens:  # only the last response has none: the end id was drawn
            self._streams.end(stream)
            return ResponseText([detokenizer.pending], [""])
        return ResponseText([detokenizer.push(tokens)], [detokenizer.pending])
