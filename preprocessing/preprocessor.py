"""One request's values to what the engine is given."""

from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.budget import new_token_budget
from preprocessing.engines import FIXED_VALUES, EngineName
from preprocessing.errors import InvalidRequestError
from preprocessing.messages import parse_messages
from preprocessing.sampling import Values, check_sampling
from preprocessing.tokenizer import Tokenizer

# A text with more bytes for each token it may have is refused before the time to tokenize it is
# spent, in which no other request is served. Words have 4 to 5 bytes a token, long runs of blanks
# or dashes a few dozen.
MAX_BYTES_PER_TOKEN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest:
    """What a client asks of the ensemble; `None` where it sent nothing."""

    max_tokens: int
    text_input: str | None = None
    messages: str | None = None
    max_length: int | None = None
    stop_words: list[str] = field(default_factory=list)
    bad_words: list[str] = field(default_factory=list)
    end_id: int | None = None
    pad_id: int | None = None
    stream: bool = False
    sampling: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineInputs:
    """What the engine is given."""

    input_ids: list[int]
    request_output_len: int
    end_id: int
    pad_id: int
    stop_words: list[list[int]]
    bad_words: list[list[int]]
    sampling: Values


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Tokenizes and checks requests for one engine."""

    tokenizer: Tokenizer
    max_seq_len: int
    max_beam_width: int
    engine: EngineName

    @classmethod
    def load(
        cls, tokenizer_dir: Path, max_seq_len: int, max_beam_width: int, engine: EngineName
    ) -> "Preprocessor":
        """Load the tokenizer of a checkpoint.

        Raises:
            TokenizerError: it has none.
            ValueError: no engine of that name is known.
        """
        if engine not in FIXED_VALUES:
            raise ValueError(f"engine is '{engine}'; known are {', '.join(FIXED_VALUES)}")
        return cls(Tokenizer(tokenizer_dir), max_seq_len, max_beam_width, engine)

    def prepare(self, request: PromptRequest) -> EngineInputs:
        """Return what the engine is given.

        Raises:
            InvalidRequestError: the request can not be served as it stands.
        """
        sampling = check_sampling(
            request.sampling, self.max_beam_width, self.engine, request.stream
        )
        max_length = self._max_length(request)
        input_ids = self._encode_prompt(request, max_length)
        budget = new_token_budget(len(input_ids), request.max_tokens, max_length)
        if sampling.get("min_tokens", 0) > budget:
            raise InvalidRequestError(
                f"min_tokens is {sampling['min_tokens']}, but the reply may have {budget} tokens"
            )
        first_eos, *other_eos = self.tokenizer.eos_ids
        return EngineInputs(
            input_ids=input_ids,
            request_output_len=budget,
            end_id=first_eos if request.end_id is None else self._checked_end_id(request.end_id),
            pad_id=self.tokenizer.pad_id if request.pad_id is None else request.pad_id,
            stop_words=[
                *([eos] for eos in other_eos),
                *self._encode_words("stop_words", request.stop_words),
            ],
            bad_words=self._encode_words("bad_words", request.bad_words),
            sampling=sampling,
        )

    def _max_length(self, request: PromptRequest) -> int:
        if request.max_length is None:
            return self.max_seq_len
        if request.max_length < 1:
            raise InvalidRequestError(f"max_length is {request.max_length}; it must be 1 or more")
        return min(request.max_length, self.max_seq_len)

    def _encode_prompt(self, request: PromptRequest, max_length: int) -> list[int]:
        text, messages = request.text_input, request.messages
        if text is not None and messages is not None:
            raise InvalidRequestError("send either text_input or messages, not both")
        if messages is not None:
            text = self.tokenizer.render(parse_messages(messages))
        elif text is None:
            raise InvalidRequestError("send text_input or messages")
        _check_size("the prompt", [text], max_length)
        # The chat template has written the special tokens itself.
        return self.tokenizer.encode(text, add_special_tokens=messages is None)

    def _encode_words(self, name: str, words: list[str]) -> list[list[int]]:
        _check_size(name, words, self.max_seq_len)
        encoded = (self.tokenizer.encode(word, add_special_tokens=False) for word in words if word)
        return [ids for ids in encoded if ids]

    def _checked_end_id(self, end_id: int) -> int:
        if not -1 <= end_id < self.tokenizer.vocab_size:
            raise InvalidRequestError(
                f"end_id is {end_id}; it must be a token id below {self.tokenizer.vocab_size}, "
                "or -1 for none"
            )
        return end_id


def _check_size(name: str, texts: list[str], max_tokens: int) -> None:
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_BYTES_PER_TOKEN * max_tokens:
        raise InvalidRequestError(
            f"{name} has {size} bytes, which is more than {max_tokens} tokens can hold, the most "
            "that prompt and reply together may have; shorten it"
        )
