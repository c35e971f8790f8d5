"""Leaving out unlikely tokens before a draw, for all rows of a batch at once.

The same tokens remain as after transformers' warpers (huggingface/transformers 5.23,
src/transformers/generation/logits_process.py), without sorting the vocabulary.
"""

import torch

LEFT_OUT = float("-inf")
LIKELY_TOKENS = (256, 4096)  # how many are looked at first; mostly they hold the mass


def keep_top_k(scores: torch.Tensor, top_k: int) -> None:
    """Leave out all but the `top_k` highest of each row of float32 [rows, vocab], in place.

    Scores equal to the lowest of them stay too.
    """
    if top_k < scores.shape[1]:
        lowest = torch.topk(scores, top_k).values[:, -1:]
        scores.masked_fill_(scores < lowest, LEFT_OUT)


def keep_min_p(scores: torch.Tensor, min_p: float) -> None:
    """Leave out all tokens less likely than `min_p` times the likeliest one, in place.

    Args:
        scores: float32 [rows, vocab].
        min_p: in (0, 1].
    """
    probabilities = torch.softmax(scores, dim=-1)
    least = min_p * probabilities.amax(dim=-1, keepdim=True)
    scores.masked_fill_(probabilities < least, LEFT_OUT)


def keep_top_p(scores: torch.Tensor, top_p: torch.Tensor) -> None:
    """Leave out all but the fewest tokens that hold the mass `top_p`, in place.

    Args:
        scores: float32 [rows, vocab].
        top_p: float64 [rows], above 0.
    """
    probabilities = torch.softmax(scores, dim=-1)
    vocab_size = scores.shape[1]
    # What is left out is exact: the float64 mass of all tokens less that of the likelier ones.
    too_little = probabilities.sum(dim=-1, dtype=torch.float64) - (1 - top_p)
    for size in (*(size for size in LIKELY_TOKENS if size < vocab_size), vocab_size):
        likely, indices = torch.topk(probabilities, size)
        mass_before = likely.cumsum(dim=-1, dtype=torch.float64) - likely
        num_kept = (mass_before < too_little[:, None]).sum(dim=-1, keepdim=True)
        if size == vocab_size or bool((num_kept < size).all()):
            break
    lowest = scores.gather(1, indices.gather(1, num_kept.clamp(min=1) - 1))
    scores.masked_fill_(scores < lowest, LEFT_OUT)
