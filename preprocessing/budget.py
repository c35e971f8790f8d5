"""How many tokens a reply may have."""

from preprocessing.errors import InvalidRequestError


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
