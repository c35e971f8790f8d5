"""One continuation of a prompt, token after token: greedy or drawn."""

import torch

from reference_engine import processors
from reference_engine.interface import EngineRequest
from reference_engine.stop_criteria import StopCriteria


class Sampler:
    """Chooses the tokens of a request with one beam.

    A seeded draw equals `torch.manual_seed(seed)` before transformers' `generate(do_sample=True)`,
    whatever else runs in the batch, because the generator is the request's own.
    """

    num_rows = 1
    parents = (0,)

    def __init__(self, request: EngineRequest, max_new_tokens: int) -> None:
        sampling = request.sampling
        self._stop = StopCriteria(request, max_new_tokens)
        self._greedy = processors.is_greedy(sampling)
        self._chain = processors.constraints(request)
        penalties = processors.occurrence_penalties(sampling)
        if penalties or not self._greedy:
            self._chain += processors.temperature(sampling) + penalties
        if not self._greedy:
            self._chain += processors.truncations(sampling)
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

        self._length = len(request.input_ids)
        self._token_ids = torch.empty(1, self._length + max_new_tokens, dtype=torch.int64)
        self._token_ids[0, : self._length] = torch.tensor(request.input_ids)
        self._generated: list[int] = []
        self.next_tokens: list[int] = []
        self.is_finished = False

    @property
    def outputs(self) -> list[list[int]]:
        """The generated tokens without the end id, as the only beam."""
        return [self._generated]

    def advance(self, logits: torch.Tensor) -> None:
        """Choose the next token from float32 [1, vocab].

        Raises:
            RuntimeError: no token has a probability.
        """
        scores = processors.apply(self._chain, self._token_ids[:, : self._length], logits)
        token = self._choose(scores)
        if self._stop.is_end(token):
            self.is_finished = True
            return
        self._token_ids[0, self._length] = token
        self._length += 1
        self._generated.append(token)
        self.next_tokens = [token]
        self.is_finished = len(self._generated) == self._stop.max_new_tokens
        if window := self._stop.window:
            tail = self._token_ids[0, max(0, self._length - window) : self._length].tolist()
            self.is_finished |= self._stop.matches_stop_word(tail)

    def _choose(self, scores: torch.Tensor) -> int:
        if not self._greedy:
            probabilities = torch.softmax(scores, dim=-1)
            return int(torch.multinomial(probabilities, 1, generator=self._generator))
        token = int(torch.argmax(scores, dim=-1))
        if not torch.isfinite(scores[0, token]):
            raise RuntimeError("no token can be chosen: all are banned, or the logits are NaN")
        return token
