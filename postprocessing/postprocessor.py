"""One engine response to text."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aeolus_contract.request_parameters import RequestParameters, read_request_parameters
from postprocessing.detokenizer import detokenizer_of, token_text
from postprocessing.sequence_text import SequenceText
from postprocessing.streams import StreamKey, Streams
from postprocessing.vocabulary import load_vocabulary


@dataclass(slots=True, kw_only=True)
class EngineResponse:
    """What the engine sent, and what the request says of it."""

    beams: list[list[int]]
    """The new token ids of a stream, as its only beam; or all ids of every beam."""
    stream: StreamKey | None
    """Which stream the response is a part of; `None` for a whole reply."""
    num_input_tokens: int = 0
    num_echoed_tokens: int | None = None
    """Tokens of the prompt at the beginning of each beam, where the engine says so."""
    stop_words: list[str] = field(default_factory=list)
    """Texts that end the reply and stay in it."""
    parameters: str = ""
    """The request's, a JSON object."""
    finish_reasons: list[str] | None = None
    """Why each beam ended, in the last response of an engine that says so."""
    is_last: bool = False
    """Whether it is certain that nothing follows; an engine may also leave it open."""


@dataclass(slots=True)
class ResponseText:
    """The text of a response, one string a beam."""

    text: list[str]
    pending: list[str] | None = None
    """What the end of the stream would add, if anything; the receiver of the last response knows
    that it is the last."""
    stop_reasons: list[str] | None = None
    """Where a stop string matched in this response: which, and nothing for the other beams."""
    finish_reasons: list[str] | None = None
    """The engine's, with `stop` for the beams that end at a stop string."""
    with_output_ids: bool = False


class Postprocessor:
    """Turns responses of the engine into text; responses of one stream must come in order."""

    def __init__(self, tokenizer_dir: Path, skip_special_tokens: bool, streams: Streams):
        """Read the tokenizer.

        Raises:
            UnsupportedTokenizerError: it is missing or of no known family.
        """
        self._vocabulary = load_vocabulary(tokenizer_dir)
        self._skip_special_tokens = skip_special_tokens
        self._streams = streams

    def text_of(self, response: EngineResponse) -> ResponseText:
        """Decode a response."""
        if response.stream is None or len(response.beams) > 1:
            return self._whole_text(response)
        return self._next_text(response.beams[0], response.stream, response)

    def token_texts(self, token_ids: Sequence[int], parameters: str) -> list[str]:
        """Return what each token of a whole sequence adds to its text.

        A token that ends in the middle of a character adds nothing, and the next one both.
        """
        skips = bool(self._parameters_of(parameters).skip_special_tokens)
        detokenizer = detokenizer_of(self._vocabulary, skips)
        texts = [detokenizer.push([token_id]) for token_id in token_ids]
        return [*texts[:-1], texts[-1] + detokenizer.pending] if texts else []

    def texts_of(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token by itself."""
        return [token_text(self._vocabulary, token_id) for token_id in token_ids]

    def _whole_text(self, response: EngineResponse) -> ResponseText:
        parameters = self._parameters_of(response.parameters)
        prompt = response.num_input_tokens if parameters.prompt_in_output else 0
        if response.num_echoed_tokens is not None:
            prompt = response.num_echoed_tokens
        texts, reasons = [], []
        for tokens in response.beams:
            sequence = SequenceText(self._vocabulary, parameters, response.stop_words)
            text = sequence.push_prompt(tokens[:prompt]) + sequence.push(tokens[prompt:])
            texts.append(text + sequence.finish())
            reasons.append(sequence.stop_reason or "")
        return ResponseText(
            texts,
            stop_reasons=reasons if any(reasons) else None,
            finish_reasons=_finish_reasons(response, reasons),
            with_output_ids=parameters.return_output_ids,
        )

    def _next_text(
        self, tokens: list[int], stream: StreamKey, response: EngineResponse
    ) -> ResponseText:
        sequence = self._streams.get(
            stream,
            lambda: SequenceText(
                self._vocabulary, self._parameters_of(response.parameters), response.stop_words
            ),
        )
        was_stopped = sequence.stop_reason
        text, pending = sequence.push(tokens), ""
        # Only the last response has no tokens: the end id was drawn.
        if response.is_last or not tokens or sequence.has_ended:
            self._streams.end(stream)
            text += sequence.finish()
        else:
            pending = sequence.pending
        reason = sequence.stop_reason
        return ResponseText(
            [text],
            pending=[pending] if pending else None,
            stop_reasons=[reason] if reason is not None and was_stopped is None else None,
            finish_reasons=_finish_reasons(response, [reason or ""]),
            with_output_ids=sequence.parameters.return_output_ids,
        )

    def _parameters_of(self, parameters: str) -> RequestParameters:
        asked = read_request_parameters(parameters)
        if asked.skip_special_tokens is None:
            return replace(asked, skip_special_tokens=self._skip_special_tokens)
        return asked


def _finish_reasons(response: EngineResponse, stop_reasons: list[str]) -> list[str] | None:
    if response.finish_reasons is None:
        return None
    pairs = zip(response.finish_reasons, stop_reasons, strict=True)
    return ["stop" if stopped else reason for reason, stopped in pairs]
