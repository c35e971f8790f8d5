"""What comes out of the shim is what `transformers.generate` says, token for token.

The whole way - shim, gRPC, preprocessing, engine, postprocessing - on tiny random checkpoints of
the three architectures, each with a tokenizer of its family, 100 random prompts in flight at once.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from scripts.bench.service import running_triton
from support.checkpoints import make_llama, make_mistral, make_stablelm
from support.serving import serve_shim
from support.tokenizers_for_tests import save_byte_level_bpe, save_sentencepiece_bpe

pytestmark = pytest.mark.server

VOCAB_SIZE = 512
PROMPTS = 100
NEW_TOKENS = 24
SENTENCE = (
    "the wind from the west is gentle and warm over hills where zephyr met mistral at dawn "
    "42 tokens, please! naïve café 東京 🌬️ größer"
)


FAMILIES: dict[str, tuple[Callable[..., Path], Callable[..., Any]]] = {
    "stablelm-zephyr-3b": (make_stablelm, save_byte_level_bpe),
    "mistral-7b": (make_mistral, save_sentencepiece_bpe),
    "llama-3-8b-instruct": (make_llama, save_byte_level_bpe),
}


@dataclass(frozen=True, slots=True)
class Served:
    """The shim of one model, and the tools to compute what it must say."""

    url: str
    input: str
    tokenizer: Any
    model: Any
    continuations: dict[tuple[int, ...], str] = field(default_factory=dict)
    """Those that `generate` has given, by prompt."""

    def request_of(self, prompt: str) -> tuple[dict[str, Any], list[int]]:
        """Return the request's conversation and the token ids it stands for."""
        if self.input == "prompt":
            return {"prompt": prompt}, self.tokenizer(prompt).input_ids
        messages = [{"role": "user", "content": prompt}]
        return {"messages": messages}, self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def continuation_of(self, input_ids: list[int]) -> str:
        """Return the text of what `generate` continues the prompt with."""
        key = tuple(input_ids)
        if key not in self.continuations:
            self.continuations[key] = self._generate(input_ids)
        return self.continuations[key]

    def _generate(self, input_ids: list[int]) -> str:
        inputs = torch.tensor([input_ids])
        output = self.model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
        new_tokens = output[0, len(input_ids) :].tolist()
        if new_tokens[-1] == self.model.generation_config.eos_token_id:
            new_tokens.pop()  # which is no special token of every tokenizer here
        text: str = self.tokenizer.decode(new_tokens, skip_special_tokens=True)
        return text


@pytest.fixture(scope="module", params=FAMILIES)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp(request.param)
    checkpoint = directory / "checkpoint"
    checkpoint.mkdir()
    make_checkpoint, save_tokenizer = FAMILIES[request.param]
    make_checkpoint(checkpoint, vocab_size=VOCAB_SIZE)
    save_tokenizer(checkpoint, VOCAB_SIZE)
    entry = load_catalog()[request.param]
    repository = assemble_reference(entry, checkpoint, directory / "models")
    with (
        running_triton(repository.path, directory / "run") as triton,
        serve_shim(triton.grpc_address, [request.param]) as url,
    ):
        yield Served(
            url=url,
            input=entry.predict.input,
            tokenizer=AutoTokenizer.from_pretrained(checkpoint),
            model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        )


def random_prompts(seed: int) -> list[str]:
    generator = random.Random(seed)
    words = SENTENCE.split()
    return [" ".join(generator.choices(words, k=generator.randint(1, 20))) for _ in range(PROMPTS)]


async def texts_of(url: str, bodies: list[dict[str, Any]]) -> list[str]:
    """Send all requests at once; return the replies' texts."""
    limits = httpx.Limits(max_connections=PROMPTS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=300) as client:
        replies = await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))
    for reply in replies:
        assert reply.status_code == 200, reply.text
    return [text_of(reply) for reply in replies]


def text_of(reply: httpx.Response) -> str:
    if reply.headers["content-type"] != "application/json":
        return reply.content.decode()  # a stream
    text: str = reply.json()["output"] if isinstance(reply.json(), dict) else reply.json()
    return text


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_greedy_text_equals_transformers_generate(served: Served, stream: bool) -> None:
    requests = [served.request_of(prompt) for prompt in random_prompts(seed=7)]
    options = {
        "do_sample": False,
        "num_beams": 1,
        "max_new_tokens": NEW_TOKENS,
        "skip_special_tokens": True,
        "stream": stream,
    }
    if not stream:
        options["return_full_text"] = False
    bodies = [{**conversation, **options} for conversation, _ in requests]
    assert asyncio.run(texts_of(served.url, bodies)) == [
        served.continuation_of(input_ids) for _, input_ids in requests
    ]
