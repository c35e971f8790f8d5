"""How many tokens a reply may have, and must have."""

from collections.abc import Mapping

from aeolus_contract.failures import InvalidRequestError

MINIMA = ("min_tokens", "min_length", "min_total_length")
"""New tokens; the same under the older name that NVIDIA's clients still send; and tokens of prompt
and reply together, which is Hugging Face's `min_length`."""


def new_token_budget(prompt_tokens: int, max_tokens: int, max_length: int) -> int:
    """Return how many tokens may follow a prompt.

    Args:
        prompt_tokens: tokens of the prompt.
        max_tokens: the new tokens asked for; more than fit are cut to fit.
        max_length: most tokens of prompt and reply together.

    Raises:
        InvalidRequestError: the prompt is empty or leaves no room, or nothing is asked for.
    """
    if max_tokens < 1:
        raise InvalidRequestError(f"max_tokens is {max_tokens}; ask for at least 1 new token")
    if prompt_tokens == 0:
        raise InvalidRequestError("the prompt is empty; send at least one token")
    if prompt_tokens >= max_length:
        raise InvalidRequestError(
            f"the prompt has {prompt_tokens} tokens, but prompt and reply together may have "
            f"{max_length}; shorten the prompt to {max_length - 1} tokens or fewer"
        )
    return min(max_tokens, max_length - prompt_tokens)


def fewest_new_tokens(prompt_tokens: int, budget: int, asked: Mapping[str, int]) -> int:
    """Return how many tokens must follow a prompt; 0 where nothing is asked.

    Args:
        prompt_tokens: tokens of the prompt.
        budget: most tokens of the reply.
        asked: by `MINIMA`, those that were sent, none negative.

    Raises:
        InvalidRequestError: two of them contradict each other, or they are more than the budget.
    """
    min_tokens, min_length = asked.get("min_tokens"), asked.get("min_length")
    if None not in (min_tokens, min_length) and min_tokens != min_length:
        raise InvalidRequestError(
            f"min_tokens is {min_tokens} and its alias min_length {min_length}; send one of them"
        )
    fewest = 0
    for name, value in asked.items():
        needed = value - prompt_tokens if name == "min_total_length" else value
        if needed > budget:
            raise InvalidRequestError(f"{name} is {value}, but the reply may have {budget} tokens")
        fewest = max(fewest, needed)
    return fewest
