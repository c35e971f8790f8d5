"""The text of one sequence: its tokens decoded, its end taken off."""

from collections.abc import Sequence

from aeolus_contract.request_parameters import RequestParameters
from postprocessing.detokenizer import detokenizer_of
from postprocessing.stop_strings import StopStrings
from postprocessing.vocabulary import Vocabulary


class SequenceText:
    """What shows of one sequence, as its tokens come."""

    def __init__(
        self, vocabulary: Vocabulary, parameters: RequestParameters, stop_words: Sequence[str] = ()
    ):
        """Begin a sequence; `stop_words` end its text and stay in it."""
        self.parameters = parameters
        self._detokenizer = detokenizer_of(vocabulary, bool(parameters.skip_special_tokens))
        self._end_ids = (
            vocabulary.hidden_end_ids
            if parameters.end_ids is None
            else frozenset(parameters.end_ids)
        )
        has_stop = parameters.stop or stop_words
        self._stop = StopStrings(parameters.stop, stop_words) if has_stop else None
        self._num_tokens = 0
        self._is_at_end_id = False

    def push_prompt(self, token_ids: Sequence[int]) -> str:
        """Take the prompt's tokens, which end nothing; return their text."""
        return self._detokenizer.push(token_ids)

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the tokens of a response; return the text that is certain now.

        The engine stops at an end id that it was given as a stop word, and then sends it.
        """
        self._num_tokens += len(token_ids)
        self._is_at_end_id = bool(token_ids) and token_ids[-1] in self._end_ids
        if self._is_at_end_id:
            token_ids = token_ids[:-1]
        text = self._detokenizer.push(token_ids)
        return text if self._stop is None else self._stop.push(text)

    @property
    def has_ended(self) -> bool:
        """Whether its newest token is an end id, or it has all the tokens that it may."""
        limit = self.parameters.max_tokens
        return self._is_at_end_id or (limit is not None and self._num_tokens >= limit)

    @property
    def pending(self) -> str:
        """The text still to come if the sequence ends here."""
        pending = self._detokenizer.pending
        return pending if self._stop is None else self._stop.at_end(pending)

    def finish(self) -> str:
        """Return that text, the sequence having ended."""
        pending = self._detokenizer.pending
        if self._stop is None:
            return pending
        text = self._stop.push(pending)
        return text + self._stop.at_end("")

    @property
    def stop_reason(self) -> str | None:
        """The stop string at which the text ended."""
        return None if self._stop is None else self._stop.matched
