"""The likeliest tokens of log probabilities, and what a model thinks of a prompt."""

import torch

from engine_step.interface import PromptLogProbs, TopTokens


def top_tokens(log_probs: torch.Tensor, number: int) -> TopTokens:
    """Return the likeliest tokens of each row.

    Args:
        log_probs: float32 [rows, vocab].
        number: how many of a row; no more than there are.
    """
    best = torch.topk(log_probs, min(number, log_probs.shape[1]), dim=-1)
    return TopTokens(best.indices.tolist(), best.values.tolist())


class PromptScores:
    """Collects the log probabilities of a prompt, read in pieces."""

    def __init__(self, prompt: list[int], num_top: int):
        """Begin at the first token; `num_top` may be 0."""
        self._prompt = prompt
        self._num_top = num_top
        self._log_probs = [0.0]
        self._top = TopTokens([[]], [[]])

    def add(self, logits: torch.Tensor) -> None:
        """Take float32 [tokens, vocab]: the logits after each of the next tokens of the prompt."""
        begin = len(self._log_probs)
        following = self._prompt[begin : begin + len(logits)]
        if not following:
            return
        log_probs = torch.log_softmax(logits[: len(following)], dim=-1)
        chosen = torch.tensor(following, device=logits.device)[:, None]
        self._log_probs += log_probs.gather(1, chosen)[:, 0].tolist()
        if self._num_top:
            top = top_tokens(log_probs, self._num_top)
            self._top.ids.extend(top.ids)
            self._top.log_probs.extend(top.log_probs)

    def result(self) -> PromptLogProbs:
        """Return them once the whole prompt was read."""
        top = self._top if self._num_top else None
        if top is not None:
            width = len(top.ids[-1]) or self._num_top
            top.ids[0], top.log_probs[0] = [-1] * width, [0.0] * width
        return PromptLogProbs(self._prompt, self._log_probs, top)
