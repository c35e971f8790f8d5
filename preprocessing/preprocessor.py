"""One request's values to what the engine is given."""

from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.budget import new_token_budget
from preprocessing.engines import FIXED_VALUES, EngineName
from preprocessing.errors import InvalidRequestError
from preprocessing.messages import parse_messages
from preprocessing.sampling import Values, check_sampling
from preprocessing.tokenizer import Tokenizer


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
            end_id=first_eos if request.end_id is None else request.end_id,
            pad_id=self.tokenizer.pad_id if request.pad_id is None else request.pad_id,
            stop_words=[[eos] for eos in other_eos] + self._encode_words(request.stop_words),
            bad_words=self._encode_words(request.bad_words),
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
        if (text is None) == (messages is None):
            raise InvalidRequestError("send either text_input or messages")
        size = len((text or messages or "").encode())
        if size > self.tokenizer.max_bytes_per_token * max_length:
            # Certain before the time to tokenize it is spent.
            raise InvalidRequestError(
                f"the prompt has {size} bytes, which is more than {max_length} tokens can hold, "
                "the most that prompt and reply together may have; shorten it"
            )
        if messages is not None:
            return self.tokenizer.encode_messages(parse_messages(messages))
        return self.tokenizer.encode_text(text or "")

    def _encode_words(self, words: list[str]) -> list[list[int]]:
        encoded = (self.tokenizer.encode_word(word) for word in words if word)
        return [ids for ids in encoded if ids]
