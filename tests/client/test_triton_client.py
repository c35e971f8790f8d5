"""The gRPC client against the real ensemble: streams, counts, errors, and leaving early."""

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from aeolus_client import (
    GenerationRequest,
    InvalidRequestError,
    ModelNotFoundError,
    ServerUnavailableError,
    TextChunk,
    TritonClient,
)
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.asking import QUESTION
from support.metrics import steps, stopped_before, wait_for_steps

pytestmark = pytest.mark.server

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "aeolus_client")
TOKENS = 3500
COUNTED_SECONDS = 60


@asynccontextmanager
async def connected(address: str, model: str = "ensemble") -> AsyncIterator[TritonClient]:
    client = TritonClient(address, model)
    try:
        yield client
    finally:
        await client.close()


def with_client(triton: TritonServer, work: Callable[[TritonClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connected(triton.grpc_address) as client:
            return await work(client)

    return asyncio.run(run())


def question(**values: Any) -> GenerationRequest:
    return GenerationRequest(messages=QUESTION, **{"max_tokens": 64, **values})


async def chunks_of(client: TritonClient, request: GenerationRequest) -> list[TextChunk]:
    async with aclosing(client.stream(request)) as chunks:
        return [chunk async for chunk in chunks]


def test_a_stream_comes_in_pieces_and_ends_with_its_reason(triton: TritonServer) -> None:
    chunks = with_client(triton, lambda client: chunks_of(client, question(stream=True)))
    assert len(chunks) > 2
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == "stop"
    assert "breeze" in "".join(chunk.text for chunk in chunks)
    counts = [chunk.completion_tokens for chunk in chunks]
    assert counts == sorted(counts)


def test_a_stream_and_a_whole_reply_have_the_same_text_and_counts(triton: TritonServer) -> None:
    async def both(client: TritonClient) -> tuple[list[TextChunk], Any]:
        return await chunks_of(client, question(stream=True)), await client.complete(question())

    chunks, completion = with_client(triton, both)
    assert "".join(chunk.text for chunk in chunks) == completion.text
    assert chunks[-1].completion_tokens == completion.completion_tokens
    assert chunks[-1].prompt_tokens == completion.prompt_tokens
    assert chunks[-1].finish_reason == completion.finish_reason


def test_a_reader_slower_than_the_engine_gets_all_of_it_in_fewer_chunks(
    triton: TritonServer,
) -> None:
    request = question(
        stream=True,
        max_tokens=300,
        min_tokens=300,
        return_output_ids=True,
        return_log_probs=True,
    )

    async def both(client: TritonClient) -> tuple[list[TextChunk], list[TextChunk]]:
        fast = await chunks_of(client, request)
        before, slow = steps(triton), []
        async with aclosing(client.stream(replace(request, request_id="slow"))) as chunks:
            async for chunk in chunks:
                slow.append(chunk)
                if len(slow) == 1:
                    await asyncio.to_thread(wait_for_steps, triton, before + 299)
                    await asyncio.sleep(0.5)
        return fast, slow

    fast, slow = with_client(triton, both)
    assert len(slow) < len(fast)
    assert "".join(chunk.text for chunk in slow) == "".join(chunk.text for chunk in fast)
    assert slow[-1].completion_tokens == 300
    for name in ("output_ids", "log_probs"):
        assert [each for chunk in slow for each in getattr(chunk, name)] == [
            each for chunk in fast for each in getattr(chunk, name)
        ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_used_up_its_tokens_ends_by_length(triton: TritonServer, stream: bool) -> None:
    request = question(max_tokens=5, stream=stream)
    completion = with_client(triton, lambda client: client.complete(request))
    assert (completion.finish_reason, completion.completion_tokens) == ("length", 5)


def test_a_limit_on_prompt_and_reply_together_ends_by_length(triton: TritonServer) -> None:
    request = question(max_tokens=1000, min_tokens=20, max_length=32)
    completion = with_client(triton, lambda client: client.complete(request))
    assert completion.prompt_tokens + completion.completion_tokens == 32
    assert completion.finish_reason == "length"


def test_the_prompt_can_be_repeated_and_is_not_counted_as_reply(triton: TritonServer) -> None:
    async def both(client: TritonClient) -> tuple[Any, Any]:
        echo = question(exclude_input_in_output=False, skip_special_tokens=False)
        return await client.complete(echo), await client.complete(question())

    echoed, plain = with_client(triton, both)
    assert echoed.text == f"<|user|>\nWhat is a zephyr?<|endoftext|>\n<|assistant|>\n{plain.text}"
    assert echoed.completion_tokens == plain.completion_tokens


def test_the_best_beam_is_the_reply(triton: TritonServer) -> None:
    completion = with_client(triton, lambda client: client.complete(question(beam_width=4)))
    assert "breeze" in completion.text
    assert completion.finish_reason == "stop"


def test_sixteen_streams_at_once_each_have_their_own_text(triton: TritonServer) -> None:
    topics = ["a zephyr", "beam search", "a token", "temperature", "Triton", "the KV cache"]
    requests = [
        GenerationRequest(
            messages=[{"role": "user", "content": f"What is {topics[number % len(topics)]}?"}],
            max_tokens=48 + number,
            min_tokens=number,
            stream=True,
        )
        for number in range(16)
    ]

    async def alone_and_together(client: TritonClient) -> tuple[list[str], list[str]]:
        alone = [(await client.complete(request)).text for request in requests]
        together = await asyncio.gather(*(client.complete(renew(each)) for each in requests))
        return alone, [completion.text for completion in together]

    alone, together = with_client(triton, alone_and_together)
    assert together == alone


def renew(request: GenerationRequest) -> GenerationRequest:
    return GenerationRequest(
        messages=request.messages,
        max_tokens=request.max_tokens,
        min_tokens=request.min_tokens,
        stream=True,
    )


def test_many_first_requests_read_the_configuration_once(
    triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: TritonClient) -> list[str]:
        read = client._transport.config
        names = []

        async def noted(name: str) -> Any:
            names.append(name)
            return await read(name)

        monkeypatch.setattr(client._transport, "config", noted)
        await asyncio.gather(*(client.complete(question(max_tokens=1)) for _ in range(32)))
        return names

    steps = ["preprocessing", "tensorrt_llm", "postprocessing"]
    assert with_client(triton, work) == ["ensemble", *steps]


def test_streams_with_one_request_id_after_each_other_do_not_mix(triton: TritonServer) -> None:
    async def twice(client: TritonClient) -> list[str]:
        # Cut off by length, so that the first leaves its state behind in postprocessing.
        request = question(max_tokens=7, stream=True, request_id="the same")
        return [(await client.complete(request)).text for _ in range(2)]

    first, second = with_client(triton, twice)
    assert first == second


def long_question() -> GenerationRequest:
    return question(max_tokens=TOKENS, min_tokens=TOKENS, stream=True)


def test_closing_a_stream_stops_the_engine(triton: TritonServer) -> None:
    async def leave(client: TritonClient) -> None:
        async with aclosing(client.stream(long_question())) as chunks:
            async for _ in chunks:
                break

    with stopped_before(triton, TOKENS):
        with_client(triton, leave)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.05, 0.5])
def test_cancelling_a_task_at_any_time_stops_the_engine(triton: TritonServer, delay: float) -> None:
    async def leave(client: TritonClient) -> None:
        await client.is_ready()
        task = asyncio.create_task(client.complete(long_question()))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.3)  # a request on its way may not have reached the engine before

    with stopped_before(triton, TOKENS):
        with_client(triton, leave)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"messages": None, "text_input": ""}, "the prompt is empty"),
        ({"top_p": 1.5}, "top_p is 1.5; it must be in"),
        ({"beam_width": 5}, "beam_width is 5; this model was started for widths 1 to 4"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "unknown role wizard"),
        ({"max_length": 4}, "prompt and reply together may have 4"),
        ({"max_tokens": 0}, "max_tokens is 0"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_refused_with_its_reason(
    triton: TritonServer, values: dict[str, Any], reason: str, stream: bool
) -> None:
    request = GenerationRequest(
        **{"messages": QUESTION, "max_tokens": 8, "stream": stream, **values}
    )
    with pytest.raises(InvalidRequestError) as caught:
        with_client(triton, lambda client: client.complete(request))
    assert reason in str(caught.value)
    assert "ensemble" not in str(caught.value)


def test_hundreds_of_refusals_do_the_server_no_harm(triton: TritonServer) -> None:
    async def refuse(client: TritonClient) -> None:
        for _ in range(300):
            with pytest.raises(InvalidRequestError):
                await client.complete(question(top_p=1.5, stream=True))
        assert await client.is_ready()

    with_client(triton, refuse)


def test_leaving_leaves_no_inference_behind_in_any_model(triton: TritonServer) -> None:
    async def leave(client: TritonClient) -> None:
        for _ in range(5):
            async with aclosing(client.stream(long_question())) as chunks:
                async for _ in chunks:
                    break

    before = settled_requests(triton)
    with_client(triton, leave)
    # Triton counts a request a moment after its last response is out, each model by itself.
    deadline = time.monotonic() + COUNTED_SECONDS
    for model in ("ensemble", "preprocessing"):
        while completed_requests(triton)[model] < before[model] + 5:
            assert time.monotonic() < deadline, f"an inference of {model} is leaked"
            time.sleep(0.01)


def settled_requests(triton: TritonServer) -> dict[str, int]:
    """Return the same once the requests of the tests before are counted, too."""
    counts: dict[str, int] = {}
    while counts != (counts := completed_requests(triton)):
        time.sleep(0.5)
    return counts


def completed_requests(triton: TritonServer) -> dict[str, int]:
    """Requests that each model has finished, well or not."""
    with urllib.request.urlopen(f"{triton.http_url}/v2/models/stats") as reply:
        models = json.load(reply)["model_stats"]
    return {
        model["name"]: model["inference_stats"]["success"]["count"]
        + model["inference_stats"]["fail"]["count"]
        for model in models
    }


def test_an_unknown_model_is_said_to_be_unknown(triton: TritonServer) -> None:
    async def run() -> None:
        async with connected(triton.grpc_address, "nothing") as client:
            assert not await client.is_ready()
            await client.complete(question())

    with pytest.raises(ModelNotFoundError, match="nothing"):
        asyncio.run(run())


def test_a_server_that_does_not_run_is_said_to_be_unavailable() -> None:
    async def run() -> None:
        async with connected(f"127.0.0.1:{free_ports().grpc}") as client:
            assert not await client.is_ready()
            await client.complete(question())

    with pytest.raises(ServerUnavailableError):
        asyncio.run(run())
