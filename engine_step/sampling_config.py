"""How an engine chooses the next token; made by `make generate`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How the next token is chosen, with the C++ backend's defaults.

    Greedy when `top_k` is 1, or when `top_k` is 0 and `top_p` is 0; beam search when
    `beam_width` is above 1; otherwise a draw from the top-k / top-p distribution
    (`top_k` 0: no limit, `top_p` 0 or 1: no limit).

    After each token `top_p` is multiplied by `top_p_decay`, though not below `top_p_min`, and is
    itself again after the token `top_p_reset_id`. In a beam search row j of a step is ranked as if
    its log-probability were higher by j times `beam_search_diversity_rate`; `early_stopping` 1
    stops with `beam_width` hypotheses, 0 by the heuristic, 2 never early.

    `top_logprobs` is the number of likeliest tokens reported in the place of each generated one;
    `prompt_logprobs` that of each token of the prompt, whose own are reported unless it is -1.
    """

    beam_width: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    min_p: float = 0.0
    top_p_min: float = 1e-06
    top_p_decay: float = 1.0
    top_p_reset_id: int | None = None
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    min_tokens: int = 0
    no_repeat_ngram_size: int = 0
    len_penalty: float = 0.0
    early_stopping: int = 1
    beam_search_diversity_rate: float = 0.0
    prompt_logprobs: int = -1
    top_logprobs: int = 0
