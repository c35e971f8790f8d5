"""What a request asks for, with all that it leaves open decided by its model."""

from dataclasses import dataclass
from typing import Literal, Self

from catalog import PredictApi
from shim.parameters.parameters import Parameters

Decoding = Literal["beams", "sampling", "greedy"]


@dataclass(frozen=True, slots=True)
class ResolvedParameters:
    """The parameters of a request, and what they come to with the defaults of its model.

    `max_new_tokens` is an upper bound where `given.max_length`, which counts the prompt, is the
    limit. A stream never repeats its prompt: `is_full_text` is then false.
    """

    given: Parameters
    is_streamed: bool
    is_full_text: bool
    skip_special_tokens: bool
    max_new_tokens: int
    num_beams: int
    decoding: Decoding

    @classmethod
    def of(cls, given: Parameters, api: PredictApi) -> Self:
        """Decide by the defaults of a model's README what a request leaves open."""
        is_streamed = _or(given.stream, api.stream)
        num_beams = _num_beams(given, api, is_streamed=is_streamed)
        return cls(
            given=given,
            is_streamed=is_streamed,
            is_full_text=_or(given.return_full_text, api.return_full_text) and not is_streamed,
            skip_special_tokens=_or(
                given.skip_special_tokens, is_streamed or api.skip_special_tokens
            ),
            max_new_tokens=given.max_new_tokens
            or given.max_tokens
            or given.max_length
            or api.defaults.max_new_tokens,
            num_beams=num_beams,
            decoding="beams" if num_beams > 1 else _decoding_of_one(given, api),
        )


def _or(given: bool | None, default: bool) -> bool:
    return default if given is None else given


def _num_beams(given: Parameters, api: PredictApi, *, is_streamed: bool) -> int:
    """Return the beams asked for, or the default where nothing asked for contradicts it."""
    if given.num_beams is not None:
        return given.num_beams
    if given.do_sample or is_streamed or any(given.without_beams.values()):
        return 1
    return api.defaults.num_beams


def _decoding_of_one(given: Parameters, api: PredictApi) -> Decoding:
    defaults = api.defaults
    do_sample = _or(given.do_sample, defaults.do_sample)
    temperature = defaults.temperature if given.temperature is None else given.temperature
    top_p = defaults.top_p if given.top_p is None else given.top_p
    return "sampling" if do_sample and temperature and top_p else "greedy"
