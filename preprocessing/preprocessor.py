"""Turns ensemble requests into engine inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.parameters import ENGINES, EngineName
from aeolus_contract.request_parameters import FIXED_PRIORITIES
from preprocessing.bias import Float32Array, embedding_bias
from preprocessing.budget import MINIMA, fewest_new_tokens, new_token_budget
from preprocessing.guides import check_guided, checked_guide
from preprocessing.prompt import check_size, prompt_of
from preprocessing.request import EngineInputs, PromptRequest
from preprocessing.sampling import Values, check_sampling
from preprocessing.tokenizer import PromptText, Tokenizer
from preprocessing.words import (
    Words,
    check_ids,
    check_number,
    check_some_token_is_left,
    distinct,
    encode_words,
    parse_word_ids,
    stop_hints,
)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request whose prompt is still to be tokenized."""

    request: PromptRequest
    prompt: PromptText | list[int]
    max_length: int
    sampling: Values


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Tokenizes and checks requests for one engine."""

    tokenizer: Tokenizer
    max_seq_len: int
    max_beam_width: int
    engine: EngineName
    split_special_tokens: bool = True
    """Whether control tokens that messages spell are text, where a request does not say."""

    @classmethod
    def load(
        cls,
        tokenizer_dir: Path,
        max_seq_len: int,
        max_beam_width: int,
        engine: EngineName,
        split_special_tokens: bool = True,
    ) -> "Preprocessor":
        """Load the tokenizer of a checkpoint.

        Raises:
            TokenizerError: it has none.
            ValueError: no engine of that name is known.
        """
        if engine not in ENGINES:
            raise ValueError(f"engine is '{engine}'; known are {', '.join(ENGINES)}")
        tokenizer = Tokenizer(tokenizer_dir)
        return cls(tokenizer, max_seq_len, max_beam_width, engine, split_special_tokens)

    def prepare(self, requests: Sequence[PromptRequest]) -> list[EngineInputs | Exception]:
        """Return what the engine is given for each request, or why that one cannot be served.

        The prompts are tokenized in one call, over all cores. An `InvalidRequestError` is the
        request's own fault; any other exception is ours, and also that request's alone.
        """
        drafts = [self._draft(request) for request in requests]
        texts = [
            draft.prompt
            for draft in drafts
            if isinstance(draft, _Draft) and isinstance(draft.prompt, PromptText)
        ]
        encoded = iter(self.tokenizer.encode_prompts(texts))
        return [
            draft
            if isinstance(draft, Exception)
            else self._finish(
                draft, draft.prompt if isinstance(draft.prompt, list) else next(encoded)
            )
            for draft in drafts
        ]

    def _draft(self, request: PromptRequest) -> _Draft | Exception:
        try:
            sampling = check_sampling(
                request.sampling, self.max_beam_width, self.engine, request.stream
            )
            if request.return_log_probs and not {"top_k", "top_p"} & sampling.keys():
                # The C++ backend computes them only where a sampling value is set; this is greedy.
                sampling["top_k"] = 1
            if request.guide is not None:
                check_guided(request.sampling, self._end_ids(request), self.tokenizer.eos_ids)
            self._check_priority(request.parameters.request_priority)
            max_length = self._max_length(request)
            prompt = prompt_of(request, self.tokenizer, max_length, self.split_special_tokens)
            return _Draft(request, prompt, max_length, sampling)
        except Exception as error:
            return error

    def _finish(self, draft: _Draft, input_ids: list[int]) -> EngineInputs | Exception:
        try:
            return self._inputs(draft, input_ids)
        except Exception as error:
            return error

    def _inputs(self, draft: _Draft, input_ids: list[int]) -> EngineInputs:
        request, sampling = draft.request, dict(draft.sampling)
        budget = new_token_budget(len(input_ids), request.max_tokens, draft.max_length)
        minima = {name: int(sampling.pop(name)) for name in MINIMA if name in sampling}
        if min_tokens := fewest_new_tokens(len(input_ids), budget, minima):
            sampling["min_tokens"] = min_tokens
        end_id, *other_end_ids = self._end_ids(request)
        bias, banned = self._embedding_bias(request)
        if other_end_ids and min_tokens:
            if min_tokens < budget:
                raise InvalidRequestError(
                    f"the engine holds back one end id until there are {min_tokens} tokens, but "
                    f"this reply may end at {[end_id, *other_end_ids]}; send one in end_ids, or "
                    f"ask for exactly {min_tokens} tokens"
                )
            banned += other_end_ids  # from the first token to the last, as min_tokens bans end_id
        bad_words = [
            *self._bad_words(request, [end_id, *other_end_ids]),
            *([each] for each in banned),
        ]
        check_some_token_is_left(bad_words, self.tokenizer.vocab_size)
        return EngineInputs(
            input_ids=input_ids,
            request_output_len=budget,
            end_id=end_id,
            pad_id=self._pad_id(request),
            stop_words=[*([each] for each in other_end_ids), *self._stop_words(request)],
            stop_words_texts=[word for word in request.stop_words if word],
            bad_words=bad_words,
            embedding_bias=bias,
            sampling=sampling,
            guide=None if request.guide is None else checked_guide(request.guide),
        )

    def _check_priority(self, priority: float | None) -> None:
        fixed = FIXED_PRIORITIES.get(self.engine)
        if fixed is not None and priority is not None and priority != fixed.value:
            raise InvalidRequestError(fixed.refusal("request_priority", priority))

    def _max_length(self, request: PromptRequest) -> int:
        if request.max_length is None:
            return self.max_seq_len
        if request.max_length < 1:
            raise InvalidRequestError(f"max_length is {request.max_length}; it must be 1 or more")
        return min(request.max_length, self.max_seq_len)

    def _end_ids(self, request: PromptRequest) -> Sequence[int]:
        """Return the ids that end a reply; the engine is given the first apart."""
        end_id, end_ids = request.end_id, request.parameters.end_ids
        if end_ids is not None:
            if end_id is not None:
                raise InvalidRequestError("send either end_id or end_ids, not both")
            check_ids("end_ids", end_ids, self.tokenizer.vocab_size)
            return end_ids or (-1,)
        if end_id is None:
            return self.tokenizer.eos_ids
        if not -1 <= end_id < self.tokenizer.vocab_size:
            raise InvalidRequestError(
                f"end_id is {end_id}; it must be a token id below {self.tokenizer.vocab_size}, "
                "or -1 for none"
            )
        return (end_id, *self.tokenizer.eos_ids[1:]) if end_id >= 0 else (end_id,)

    def _pad_id(self, request: PromptRequest) -> int:
        if request.pad_id is None:
            return self.tokenizer.pad_id
        if not -1 <= request.pad_id < self.tokenizer.vocab_size:
            raise InvalidRequestError(
                f"pad_id is {request.pad_id}; it must be a token id below "
                f"{self.tokenizer.vocab_size}, or -1"
            )
        return request.pad_id

    def _stop_words(self, request: PromptRequest) -> Words:
        stop = request.parameters.stop
        check_size("stop_words", request.stop_words, self.max_seq_len)
        check_size("stop", stop, self.max_seq_len)
        words = encode_words(self.tokenizer, request.stop_words)
        check_number("stop_words", words)
        return distinct([*words, *stop_hints(self.tokenizer, [*request.stop_words, *stop])])

    def _bad_words(self, request: PromptRequest, end_ids: list[int]) -> Words:
        check_size("bad_words", request.bad_words, self.max_seq_len)
        words = encode_words(self.tokenizer, request.bad_words)
        if request.bad_words_ids is not None:
            as_ids = parse_word_ids(
                "bad_words_ids", request.bad_words_ids, self.tokenizer.vocab_size
            )
            # The end of a reply stays possible, as in transformers, whose parameter this is.
            words += [word for word in as_ids if len(word) > 1 or word[0] not in end_ids]
        check_number("bad_words", [word for word in words if len(word) > 1])
        return words

    def _embedding_bias(self, request: PromptRequest) -> tuple[Float32Array | None, list[int]]:
        check_size("embedding_bias_words", request.embedding_bias_words, self.max_seq_len)
        return embedding_bias(
            self.tokenizer,
            request.embedding_bias_words,
            request.embedding_bias_weights,
            request.embedding_bias_ids,
            request.embedding_bias_id_weights,
        )
