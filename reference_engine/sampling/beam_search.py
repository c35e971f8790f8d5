"""Beam search over one prompt.

The same search as transformers' `generate(num_beams=K)` (huggingface/transformers 5.23,
src/transformers/generation/utils.py, `_beam_search`), for one prompt, with hypotheses in a list.
"""

from dataclasses import dataclass

import torch

from engine_step.interface import BeamLogProbs, EngineRequest, FinishReason
from reference_engine.sampling import processors
from reference_engine.sampling.stop_criteria import StopCriteria

EARLY, HEURISTIC, NEVER_EARLY = 1, 0, 2  # values of SamplingConfig.early_stopping


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beam: its log-probability over its length to the length penalty, and what it holds."""

    score: float
    tokens: list[int]
    log_probs: BeamLogProbs
    finish_reason: FinishReason


class BeamSearch:
    """Keeps the `beam_width` most likely continuations of a request's prompt.

    After `advance`, row j of the model continues what row `parents[j]` was, with `next_tokens[j]`.
    """

    def __init__(self, request: EngineRequest, max_new_tokens: int, device: torch.device) -> None:
        self.num_rows = request.sampling.beam_width
        self._sampling = request.sampling
        self._stop = StopCriteria(request, max_new_tokens)
        self._divisor = processors.divisor(request.sampling)
        # Before the softmax as in TensorRT-LLM, where transformers knows no such thing.
        penalties = processors.occurrence_penalties(request.sampling)
        self._shifts = processors.bias(request, device) + penalties
        self._constraints = processors.constraints(request, device)
        diversity = request.sampling.beam_search_diversity_rate
        self._diversity = diversity * torch.arange(self.num_rows, device=device)
        self._prompt_length = self._length = len(request.input_ids)
        longest = self._length + max_new_tokens
        self._token_ids = torch.empty(self.num_rows, longest, dtype=torch.int64, device=device)
        self._token_ids[:, : self._length] = torch.tensor(request.input_ids, device=device)
        self._log_probs = torch.empty(self.num_rows, max_new_tokens, device=device)
        # All rows hold the prompt at first: only the first may be continued, or all stay equal.
        self._scores = torch.full((self.num_rows,), -1e9, device=device)
        self._scores[0] = 0
        self._hypotheses: list[Hypothesis] = []
        self.parents: list[int] = list(range(self.num_rows))
        self.next_tokens: list[int] = []
        self.is_finished = False

    @property
    def outputs(self) -> list[list[int]]:
        """The best `beam_width` token lists without the end id, best first; running ones too."""
        return [hypothesis.tokens for hypothesis in self._best_so_far()]

    @property
    def log_probs(self) -> list[BeamLogProbs]:
        """Those of `outputs`; the sums are what beams are ranked by before the length penalty."""
        return [hypothesis.log_probs for hypothesis in self._best_so_far()]

    def top_tokens(self, begin: int) -> None:
        """Return nothing: a request with several beams may not ask for them."""

    @property
    def finish_reasons(self) -> list[FinishReason]:
        """Why each of `outputs` ended; of those that have not, that the search was cancelled."""
        return [hypothesis.finish_reason for hypothesis in self._best_so_far()]

    def advance(self, logits: torch.Tensor) -> None:
        """Choose the next token of every beam.

        Args:
            logits: float32 [beam_width, vocab], or [1, vocab] after the prompt.

        Raises:
            RuntimeError: the logits are not numbers.
        """
        scores, parents, tokens = self._candidates(logits)
        self._length += 1
        ended = [self._end_of(parent, token) for parent, token in zip(parents, tokens, strict=True)]
        self._collect(scores, parents, tokens, ended)

        alive = [i for i in range(len(tokens)) if not ended[i]][: self.num_rows]
        if len(alive) < self.num_rows:  # only at the token limit, where all have ended
            self.is_finished = True
            return
        self.parents = [parents[i] for i in alive]
        self.next_tokens = [tokens[i] for i in alive]
        self._log_probs = self._log_probs[self.parents]
        self._log_probs[:, self._num_generated - 1] = scores[alive] - self._scores[self.parents]
        self._scores = scores[alive]
        self._token_ids = self._token_ids[self.parents]
        self._token_ids[:, self._length - 1] = torch.tensor(
            self.next_tokens, device=self._token_ids.device
        )
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
        totals = logits.expand(self.num_rows, -1).clone()
        processors.apply(self._shifts, token_ids, totals)
        totals = torch.log_softmax(totals / self._divisor, dim=-1)
        processors.apply(self._constraints, token_ids, totals)
        totals += (self._scores + self._diversity)[:, None]
        wanted = max(2, 1 + self._stop.num_endings) * self.num_rows
        scores, indices = torch.topk(totals.flatten(), min(wanted, totals.numel()))
        if not torch.isfinite(scores[0]):
            raise processors.nothing_to_choose(scores[0].item())
        vocab_size = totals.shape[1]
        return scores, (indices // vocab_size).tolist(), (indices % vocab_size).tolist()

    def _end_of(self, parent: int, token: int) -> FinishReason | None:
        """Return why a continuation ends with `token`, if it does."""
        if self._stop.is_end(token):
            return "stop"
        if self._stop.window:
            begin = max(0, self._length - self._stop.window)
            tail = self._token_ids[parent, begin : self._length - 1].tolist()
            if self._stop.matches_stop_word([*tail, token]):
                return "stop"
        return "length" if self._num_generated == self._stop.max_new_tokens else None

    def _collect(
        self,
        scores: torch.Tensor,
        parents: list[int],
        tokens: list[int],
        ended: list[FinishReason | None],
    ) -> None:
        """Add the ended ones of the best `beam_width` candidates to the hypotheses."""
        ranks = self._penalised(scores).tolist()
        last = self._length - 1
        for i in range(self.num_rows):
            if reason := ended[i]:
                parent, total = parents[i], float(scores[i])
                generated = self._generated(parent, last)
                log_probs = self._log_probs_of(parent, last)
                if not self._stop.is_end(tokens[i]):
                    generated.append(tokens[i])
                    log_probs.append(total - float(self._scores[parent]))
                self._hypotheses.append(
                    Hypothesis(ranks[i], generated, BeamLogProbs(total, log_probs), reason)
                )
        self._hypotheses = self._best(self._hypotheses)

    def _best_so_far(self) -> list[Hypothesis]:
        if self.is_finished:
            return self._best(self._hypotheses)
        ranks, totals = self._penalised(self._scores).tolist(), self._scores.tolist()
        running = [
            Hypothesis(
                ranks[row],
                self._generated(row, self._length),
                BeamLogProbs(totals[row], self._log_probs_of(row, self._length)),
                "cancelled",
            )
            for row in range(self.num_rows)
        ]
        return self._best([*self._hypotheses, *running])

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

    def _generated(self, row: int, end: int) -> list[int]:
        tokens: list[int] = self._token_ids[row, self._prompt_length : end].tolist()
        return tokens

    def _log_probs_of(self, row: int, end: int) -> list[float]:
        log_probs: list[float] = self._log_probs[row, : end - self._prompt_length].tolist()
        return log_probs

    def _best(self, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        return sorted(hypotheses, key=lambda h: h.score, reverse=True)[: self.num_rows]
