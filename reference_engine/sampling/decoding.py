"""One step of every running request: from logits to tokens."""

from collections.abc import Sequence

import torch

from engine_step.interface import EngineRequest
from guided_decoding.grammar import Follower
from reference_engine.sampling import sampler
from reference_engine.sampling.beam_search import BeamSearch
from reference_engine.sampling.sampler import Sampler

Decoding = Sampler | BeamSearch


def start(
    request: EngineRequest,
    max_new_tokens: int,
    device: torch.device,
    follower: Follower | None = None,
) -> Decoding:
    """Return how the tokens of `request` are chosen from logits on `device`.

    Args:
        request: checked.
        max_new_tokens: tokens after which it ends.
        device: of the logits.
        follower: of a guided request, which has one beam.
    """
    if request.sampling.beam_width > 1:
        return BeamSearch(request, max_new_tokens, device)
    return Sampler(request, max_new_tokens, device, follower)


def advance(parts: Sequence[tuple[Decoding, torch.Tensor]]) -> list[Exception | None]:
    """Choose the next tokens of every decoding from its float32 logits.

    Args:
        parts: each with [1, vocab], or [beam_width, vocab] of a beam search after its first step.

    Returns:
        What went wrong with each of them, mostly nothing: it is that request's own.
    """
    outcomes: list[Exception | None] = [None] * len(parts)
    samplers: list[Sampler] = []
    places: list[int] = []
    for place, (decoding, logits) in enumerate(parts):
        if isinstance(decoding, Sampler):
            samplers.append(decoding)
            places.append(place)
            continue
        try:
            decoding.advance(logits)
        except Exception as error:
            outcomes[place] = error
    if samplers:
        scores = torch.cat([parts[place][1] for place in places])
        for place, outcome in zip(places, sampler.advance(samplers, scores), strict=True):
            outcomes[place] = outcome
    return outcomes
