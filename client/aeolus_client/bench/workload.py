"""The requests of a benchmark: prompts of given lengths, or those of a file."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aeolus_client.client import AsyncClient, Prompt

WORDS = (
    *("wind", "air", "breeze", "north", "south", "sea", "hill", "rain", "cloud", "sail"),
    *("leaf", "field", "morning", "evening", "light", "stone", "river", "road", "city"),
    *("bridge", "garden", "winter", "summer", "storm", "calm", "wave", "shore", "bird"),
)
SAMPLE_WORDS = 64
MEASUREMENTS = 4
LENGTH_PARAMETERS = {"max_tokens", "max_new_tokens", "max_length", "min_new_tokens", "min_length"}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens, drawn evenly from `least` to `most`."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `128` or `64:256`.

        Raises:
            ValueError: it is neither.
        """
        least, _, most = text.partition(":")
        lengths = cls(int(least), int(most or least))
        if not 1 <= lengths.least <= lengths.most:
            raise ValueError(f"{text}: give a number of tokens, or least:most")
        return lengths

    def draw(self, chance: random.Random) -> int:
        """Return one."""
        return chance.randint(self.least, self.most)


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """One request of a benchmark."""

    prompt: Prompt
    parameters: dict[str, Any]


class Workload:
    """An endless supply of requests, the same for the same seed."""

    def __init__(self, requests: Iterator[BenchRequest]):
        """Take the requests; there must always be a next one."""
        self._requests = requests

    def next(self) -> BenchRequest:
        """Return the next one."""
        return next(self._requests)

    @classmethod
    async def of_lengths(
        cls,
        client: AsyncClient,
        prompt_tokens: Lengths,
        output_tokens: Lengths,
        parameters: dict[str, Any],
        seed: int = 0,
    ) -> Self:
        """Make prompts of words; the service counts how many words are so many tokens.

        Every reply has exactly the tokens that are drawn for it: `min_new_tokens` is its limit.
        """
        overhead, tokens_per_word = await _measure(client)

        def requests() -> Iterator[BenchRequest]:
            chance = random.Random(seed)  # noqa: S311 - no secret
            while True:
                words = max(1, round((prompt_tokens.draw(chance) - overhead) / tokens_per_word))
                limits = _exactly(output_tokens.draw(chance))
                yield BenchRequest(" ".join(chance.choices(WORDS, k=words)), limits | parameters)

        return cls(requests())

    @classmethod
    def of_file(
        cls,
        path: Path,
        parameters: dict[str, Any],
        output_tokens: Lengths | None = None,
        seed: int = 0,
    ) -> Self:
        """Read a prompt a line, again and again: a text, or JSON as the predict routes take.

        A JSON line has `prompt` or `messages`; what else it has are parameters of its own. Without
        `output_tokens`, or with a length of its own, a reply ends where the model or a parameter
        ends it.

        Raises:
            ValueError: a line is neither, or there is none.
        """
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{path}: no prompts in it")
        read = [_read(path, number, line) for number, line in enumerate(lines, 1)]

        def requests() -> Iterator[BenchRequest]:
            chance = random.Random(seed)  # noqa: S311 - no secret
            for each in itertools.cycle(read):
                own = parameters | each.parameters
                if output_tokens and LENGTH_PARAMETERS.isdisjoint(each.parameters):
                    own = _exactly(output_tokens.draw(chance)) | own
                yield BenchRequest(each.prompt, own)

        return cls(requests())


def _exactly(tokens: int) -> dict[str, Any]:
    return {"max_tokens": tokens, "min_new_tokens": tokens}


def _read(path: Path, number: int, line: str) -> BenchRequest:
    if not line.lstrip().startswith("{"):
        return BenchRequest(line, {})
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
    prompt = values.pop("messages", None) or values.pop("prompt", None)
    if not prompt:
        raise ValueError(f"{path}, line {number}: neither prompt nor messages")
    return BenchRequest(prompt, values)


async def _measure(client: AsyncClient) -> tuple[float, float]:
    """Return the tokens of the chat template, and of each of `WORDS` on average."""
    chance = random.Random(1)  # noqa: S311 - no secret
    one = await client.count_tokens(WORDS[0])
    many = [
        await client.count_tokens(" ".join(chance.choices(WORDS, k=SAMPLE_WORDS)))
        for _ in range(MEASUREMENTS)
    ]
    tokens_per_word = (sum(many) / MEASUREMENTS - one) / (SAMPLE_WORDS - 1)
    return one - tokens_per_word, tokens_per_word
