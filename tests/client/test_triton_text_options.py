"""Stop strings, end ids, token ids in and out, biases and log probs through the real ensemble."""

import asyncio
import json
import urllib.request
from contextlib import aclosing
from typing import Any

import pytest
from transformers import AutoTokenizer

from aeolus_client import GenerationRequest, InvalidRequestError, TextChunk, TritonClient
from demo.export import CHECKPOINT
from launcher.server import TritonServer
from support.asking import QUESTION, Ask
from support.metrics import stopped_before

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
def test_a_stop_string_ends_the_reply_and_is_cut(ask: Ask, stream: bool, echo: bool) -> None:
    if stream and echo:
        return  # a stream never repeats the prompt
    plain = ask(exclude_input_in_output=not echo)
    reply = plain.text.rpartition("What is a zephyr?")[2]
    stop = reply[len(reply) // 2 : len(reply) // 2 + 5]
    stopped = ask(stop=[stop, "never"], stream=stream, exclude_input_in_output=not echo)
    assert reply.partition(stop)[0] == stopped.text.rpartition("What is a zephyr?")[2]
    assert plain.text.startswith(stopped.text)
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens < plain.completion_tokens


def test_a_stop_string_in_the_prompt_ends_nothing(ask: Ask) -> None:
    plain, stopped = (
        ask(exclude_input_in_output=False, stop=stop) for stop in (None, ["What is", "zzz"])
    )
    assert stopped == plain


@pytest.mark.parametrize("beam_width", [1, 3])
def test_a_stop_string_that_never_comes_changes_nothing(ask: Ask, beam_width: int) -> None:
    assert ask(stop=["zzz", "breezes"], beam_width=beam_width) == ask(beam_width=beam_width)


def test_a_stop_string_stops_the_engine(triton: TritonServer) -> None:
    async def run() -> TextChunk:
        client = TritonClient(triton.grpc_address)
        request = GenerationRequest(
            messages=QUESTION, max_tokens=2000, min_tokens=2000, stream=True, stop=["ep"]
        )
        async with aclosing(client.stream(request)) as chunks:
            *_, last = [chunk async for chunk in chunks]
        await client.close()
        return last

    with stopped_before(triton, 2000):
        last = asyncio.run(run())
    assert last.finish_reason == "stop"
    assert last.completion_tokens < 2000


def test_token_ids_are_a_prompt_and_come_back(ask: Ask, tokenizer: Any) -> None:
    plain = ask()
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=False)
    same = ask(input_ids=prompt)
    assert same == plain
    assert tokenizer.decode(plain.output_ids, skip_special_tokens=True) == plain.text
    assert len(plain.output_ids) == plain.completion_tokens
    streamed = ask(stream=True)
    assert streamed.output_ids == plain.output_ids


def test_end_ids_end_the_reply_and_do_not_show(ask: Ask) -> None:
    plain = ask()
    second = plain.output_ids[3]
    first_use = plain.output_ids.index(second)
    for stream in (False, True):
        ended = ask(end_ids=[0, second], stream=stream)
        assert ended.output_ids == plain.output_ids[: first_use + 1]
        assert plain.text.startswith(ended.text)
        assert ended.finish_reason == "stop"
        assert len(ended.text) < len(ask(max_tokens=first_use + 1).text)


def test_bad_words_as_ids_do_not_come(ask: Ask) -> None:
    plain = ask()
    banned = ask(bad_words_ids=[[plain.output_ids[2]]])
    assert plain.output_ids[2] not in banned.output_ids


def test_fewest_tokens_of_prompt_and_reply_together(ask: Ask) -> None:
    plain = ask()
    total = plain.prompt_tokens + plain.completion_tokens + 5
    assert ask(min_total_length=total).completion_tokens >= plain.completion_tokens + 5


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"end_ids": [-5]}, "end_ids holds -5"),
        ({"input_ids": [1], "text_input": "a"}, "either text_input or input_ids"),
        ({"embedding_bias": {-1: 1.0}}, "embedding_bias_ids holds -1"),
        ({"bad_words_ids": [[10**6]]}, "bad_words_ids holds 1000000"),
        ({"stop": ["a"] * 65}, "stop has 65 strings"),
        ({"top_p_decay": 2.0}, "top_p_decay is 2"),
    ],
)
def test_what_is_wrong_is_refused(ask: Ask, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        ask(**values)


def test_a_plain_http_client_can_send_a_stop_string_as_a_parameter(
    triton: TritonServer, ask: Ask
) -> None:
    plain = ask().text
    stop = plain.split()[2]
    request = urllib.request.Request(
        f"{triton.http_url}/v2/models/ensemble/generate",
        data=json.dumps(
            {
                "messages": json.dumps(QUESTION),
                "max_tokens": 64,
                "stop": json.dumps([stop]),
                "min_length": 1,
            }
        ).encode(),
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        reply = json.load(response)
    assert reply["text_output"] == plain.partition(stop)[0]
    assert reply["stop_reason"] == stop
    assert "output_ids" not in reply
