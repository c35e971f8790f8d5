"""What the null engine sends: known beforehand to whoever knows the seed."""

import random

FIRST_ID = 3
"""Below are special ids."""


def null_tokens(seed: int, count: int, vocab_size: int) -> list[int]:
    """Return `count` ids, random but for their seed."""
    rng = random.Random(seed)
    return [rng.randrange(FIRST_ID, vocab_size) for _ in range(count)]
