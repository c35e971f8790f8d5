"""Llama 2 70B's way in small: converted for two ranks, assembled, served by both of them."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from build_engines.checkpoint.convert import convert
from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from launcher.processes import family
from scripts.bench.service import running_triton
from support import tiny_models
from support.ranks import followers_of, has_ended, the_follower_of
from support.serving import serve_shim
from support.tokenizers_for_tests import save_sentencepiece_bpe

pytestmark = pytest.mark.server

MODEL = load_catalog()["llama-2-70b"]
NEW_TOKENS = 24
LONG = 3000


@dataclass(frozen=True, slots=True)
class Served:
    """The shim's URL, the process of the leading rank, and transformers on the checkpoint."""

    url: str
    leader: int
    tokenizer: Any
    model: Any

    def ask(self, prompt: str, num_beams: int = 1, length: int = NEW_TOKENS) -> httpx.Response:
        body = {
            "prompt": prompt,
            "do_sample": False,
            "num_beams": num_beams,
            "max_new_tokens": length,
            "return_full_text": False,
            "skip_special_tokens": True,
        }
        return httpx.post(f"{self.url}/predict", json=body, timeout=60)

    def expected(self, prompt: str, num_beams: int = 1) -> str:
        inputs = torch.tensor([self.tokenizer(prompt).input_ids])
        output = self.model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            num_beams=num_beams,
        )
        text: str = self.tokenizer.decode(output[0, inputs.shape[1] :], skip_special_tokens=True)
        return text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("llama-2-70b")
    checkpoint = tiny_models.make_checkpoint(directory / "checkpoint", MODEL.name)
    save_sentencepiece_bpe(checkpoint, tiny_models.VOCAB_SIZE)
    convert(MODEL, checkpoint, directory / "converted", dtype="float32")
    repository = assemble_reference(
        MODEL, directory / "converted", directory / "models", tokenizer=checkpoint
    )
    with running_triton(repository.path, directory / "run") as triton:
        (leader,) = [each.pid for each in family(triton.pid) if followers_of(each.pid)]
        with serve_shim(triton.grpc_address, [MODEL.name]) as url:
            yield Served(
                url=url,
                leader=leader,
                tokenizer=AutoTokenizer.from_pretrained(checkpoint),
                model=AutoModelForCausalLM.from_pretrained(checkpoint),
            )


@pytest.mark.parametrize("num_beams", [1, 4])
def test_text_equals_that_of_transformers_generate(served: Served, num_beams: int) -> None:
    for prompt in ("the wind from the west", "How much gold is too much gold?"):
        reply = served.ask(prompt, num_beams)
        assert reply.status_code == 200, reply.text
        assert reply.json() == served.expected(prompt, num_beams)


def test_a_killed_rank_fails_what_runs_and_both_start_again(served: Served) -> None:
    follower = the_follower_of(served.leader)
    replies: list[httpx.Response] = []
    running = threading.Thread(
        target=lambda: replies.append(served.ask("the wind", length=LONG)), name="running"
    )
    running.start()
    wait_until_computing(follower)
    os.kill(follower, signal.SIGKILL)
    running.join()
    assert replies[0].status_code == 503, replies[0].text
    reply = served.ask("the wind from the west")
    assert reply.json() == served.expected("the wind from the west")
    assert the_follower_of(served.leader) != follower


def wait_until_computing(process: int) -> None:
    """Return when a process has used some more CPU time than now: an idle rank uses none."""
    (rank,) = family(process)
    before = rank.cpu_seconds()
    while rank.cpu_seconds() < before + 0.1:
        time.sleep(0.01)


def test_no_rank_outlives_the_leading_one(served: Served) -> None:
    follower = the_follower_of(served.leader)
    os.kill(served.leader, signal.SIGKILL)
    assert has_ended(follower)
