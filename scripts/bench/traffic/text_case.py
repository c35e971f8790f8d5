"""Random requests for text, whose answer is the same every time."""

import random
from contextlib import aclosing
from dataclasses import dataclass

from aeolus_client import GenerationRequest, TritonClient

WORDS = ("the", "wind", "from", "west", "zephyr", "blows", "softly", "over", "a", "sea")


@dataclass
class TextCase:
    """A request to the ensemble, and its text when it ran alone."""

    prompt: str
    max_tokens: int
    expected: str = ""

    async def run(self, address: str, way: str, after: int, streaming: bool) -> str:
        """As `TokenCase.run`; leaving is one way here, the client's own."""
        client = TritonClient(address)
        request = GenerationRequest(
            text_input=self.prompt, max_tokens=self.max_tokens, top_k=1, stream=streaming
        )
        text, number = "", 0
        async with aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                text += chunk.text
                number += 1
                if number >= after and way != "stays":
                    break
        await client.close()
        return text

    def is_answered_by(self, text: str, left: bool) -> bool:
        """Say whether `text` is that of the lone run, or as far as it had come."""
        return self.expected.startswith(text) if left else text == self.expected


def text_case(rng: random.Random) -> TextCase:
    """Return a random text to continue."""
    prompt = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 40)))
    return TextCase(prompt, rng.randint(1, 96))
