"""Beam search over one prompt.

The same search as transformers' `generate(num_beams=K)` (huggingface/transformers 5.23,
src/transformers/generation/utils.py, `_beam_search`), for one prompt, with hypotheses in a list.
"""

from dataclasses import dataclass

import torch

from reference_engine import processors
from reference_engine.interface import EngineRequest
from reference_engine.stop_criteria import StopCriteria

EARLY, HEURISTIC, NEVER_EARLY = 1, 0, 2  # values of SamplingConfig.early_stopping


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished beam: its log-probability over its length to the length penalty, its tokens."""

    score: float
    tokens: list[int]


class BeamSearch:
    """Keeps the `beam_width` most likely continuations of a request's prompt.

    After `advance`, row j of the model continues what row `parents[j]` was, with `next_tokens[j]`.
    """

    def __init__(self, request: EngineRequest, max_new_tokens: int) -> None:
        self.num_rows = request.sampling.beam_width
        self._sampling = request.sampling
        self._stop = StopCriteria(request, max_new_tokens)
        self._temperature = processors.temperature(request.sampling)
        self._chain = processors.constraints(request) + processors.occurrence_penalties(
            request.sampling
        )
        self._prompt_length = self._length = len(request.input_ids)
        self._token_ids = torch.empty(
            self.num_rows, self._length + max_new_tokens, dtype=torch.int64
        )
        self._token_ids[:, : self._length] = torch.tensor(request.input_ids)
        # All rows hold the prompt at first: only the first may be continued, or all stay equal.
        self._scores = torch.full((self.num_rows,), -1e9)
        self._scores[0] = 0
        self._hypotheses: list[Hypothesis] = []
        self.parents: list[int] = list(range(self.num_rows))
        self.next_tokens: list[int] = []
        self.is_finished = False

    @property
    def outputs(self) -> list[list[int]]:
        """The best `beam_width` token lists without the end id, best first; running ones too."""
        hypotheses = list(self._hypotheses)
        if not self.is_finished:
            scores = self._penalised(self._scores).tolist()
            hypotheses += [Hypothesis(s, self._generated(row)) for row, s in enumerate(scores)]
        return [hypothesis.tokens for hypothesis in self._best(hypotheses)]

    def advance(self, logits: torch.Tensor) -> None:
        """Choose the next token of every beam.

        Args:
            logits: float32 [beam_width, vocab], or [1, vocab] after the prompt.

        Raises:
            RuntimeError: the logits are not numbers.
        """
        scores, parents, tokens = self._candidates(logits)
        self._length += 1
        ended = [
            self._has_ended(parent, token) for parent, token in zip(parents, tokens, strict=True)
        ]
        self._collect(self._penalised(scores).tolist(), parents, tokens, ended)

        alive = [i for i in range(len(tokens)) if not ended[i]][: self.num_rows]
        if len(alive) < self.num_rows:  # only at the token limit, where all have ended
            self.is_finished = True
            return
        self.parents = [parents[i] for i in alive]
        self.next_tokens = [tokens[i] for i in alive]
        self._scores = scores[alive]
        self._token_ids = self._token_ids[self.parents]
        self._token_ids[:, self._length - 1] = torch.tensor(self.next_tokens)
        self.is_finished = len(self._hypotheses) == self.num_rows and (
            self._sampling.early_stopping == EARLY or not self._can_improve()
        )

    @property
    def _num_generated(self) -> int:
        return self._length - self._prompt_length

    def _candidates(self, logits: torch.Tensor) -> tuple[torch.Tensor, list[int], list[int]]:
        """Return scores, parent rows and tokens of the best continuations, best first.

        There are enough of them for `beam_width` to go on when all endings are among them.
        """
        token_ids = self._token_ids[:, : self._length]
        logits = processors.apply(self._temperature, token_ids, logits)
        log_probs = torch.log_softmax(logits, dim=-1).expand(self.num_rows, -1)
        totals = processors.apply(self._chain, token_ids, log_probs) + self._scores[:, None]
        wanted = max(2, 1 + self._stop.num_endings) * self.num_rows
        scores, indices = torch.topk(totals.flatten(), min(wanted, totals.numel()))
        if torch.isnan(scores[0]):
            raise RuntimeError("no token can be chosen: the logits are NaN")
        vocab_size = totals.shape[1]
        return scores, (indices // vocab_size).tolist(), (indices % vocab_size).tolist()

    def _has_ended(self, parent: int, token: int) -> bool:
        if self._num_generated == self._stop.max_new_tokens or self._stop.is_end(token):
            return True
        if not self._stop.window:
            return False
        begin = max(0, self._length - self._stop.window)
        tail = self._token_ids[parent, begin : self._length - 1].tolist()
        return self._stop.matches_stop_word([*tail, token])

    def _collect(
        self, scores: list[float], parents: list[int], tokens: list[int], ended: list[bool]
    ) -> None:
        """Add the ended ones of the best `beam_width` candidates to the hypotheses."""
        for i in range(self.num_rows):
            if ended[i]:
                generated = self._generated(parents[i], self._length - 1)
                if not self._stop.is_end(tokens[i]):
                    generated.append(tokens[i])
                self._hypotheses.append(Hypothesis(scores[i], generated))
        self._hypotheses = self._best(self._hypotheses)

    def _can_improve(self) -> bool:
        """Say whether the best running beam may yet beat the worst hypothesis."""
        length = self._num_generated
        if self._sampling.early_stopping == NEVER_EARLY and self._sampling.len_penalty > 0:
            length = self._stop.max_new_tokens
        best = float(self._scores[0] / length**self._sampling.len_penalty)
        return best > self._hypotheses[-1].score

    def _penalised(self, scores: torch.Tensor) -> torch.Tensor:
        length = max(1, self._num_generated)
        penalised: torch.Tensor = scores / length**self._sampling.len_penalty
        return penalised

    def _generated(self, row: int, end: int | None = None) -> list[int]:
        tokens: list[int] = self._token_ids[row, self._prompt_length : end or self._length].tolist()
        return tokens

    def _best(self, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        return sorted(hypotheses, key=lambda h: h.score, reverse=True)[: self.num_rows]
