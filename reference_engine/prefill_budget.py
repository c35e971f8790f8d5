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

    def tokens(self, beside_streams: bool) -> int:
        """Return the most prompt tokens for the next pass, at least 1."""
        if not beside_streams:
            return MAX_TOKENS
        if not self._step_seconds or not self._seconds_a_token:
            return FIRST_TOKENS_BESIDE_STREAMS
        spare = (DECODE_STEPS_A_PASS - 1) * median(self._step_seconds)
        return int(max(1, min(MAX_TOKENS, spare / median(self._seconds_a_token))))

    def note(self, prompt_tokens: int, seconds: float) -> None:
        """Learn from a pass with streams that has read `prompt_tokens` beside them."""
        if not prompt_tokens:
            self._step_seconds.append(seconds)
        elif self._step_seconds:
            more = max(seconds - median(self._step_seconds), seconds / 100)
            self._seconds_a_token.append(more / prompt_tokens)
