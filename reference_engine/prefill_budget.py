"""How many tokens of prompts a forward pass reads."""

from collections import deque
from statistics import median

MAX_TOKENS = 1024
"""Enough to use the machine fully; a pass is also what a cancelled request waits for."""

FIRST_TOKENS_BESIDE_STREAMS = 32
DECODE_STEPS_A_PASS = 3.0
"""What streams wait for a pass that reads prompts, in steps that read none: the aim is below five,
and other work on the machine has its share."""


class PrefillBudget:
    """Learns from the passes themselves: no number fits every model, precision and machine."""

    def __init__(self) -> None:
        self._step_seconds: deque[float] = deque(maxlen=15)
        self._seconds_a_token: deque[float] = deque(maxlen=5)

    def tokens(self, streams: int) -> int:
        """Return the most prompt tokens for the next pass beside so many rows of streams.

        A token of a prompt costs no more than one of a stream, so some are allowed for each row,
        whatever was learned: where prompts never cease there are no steps without to learn from.
        """
        if not streams:
            return MAX_TOKENS
        more_steps = DECODE_STEPS_A_PASS - 1
        learned: float = FIRST_TOKENS_BESIDE_STREAMS
        if self._step_seconds and self._seconds_a_token:
            learned = more_steps * median(self._step_seconds) / median(self._seconds_a_token)
        return int(min(MAX_TOKENS, max(more_steps * streams, learned)))

    def note(self, prompt_tokens: int, seconds: float) -> None:
        """Learn from a pass with streams that has read `prompt_tokens` beside them."""
        if not prompt_tokens:
            self._step_seconds.append(seconds)
        elif self._step_seconds:
            more = max(seconds - median(self._step_seconds), seconds / 100)
            self._seconds_a_token.append(more / prompt_tokens)
