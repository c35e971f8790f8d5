"""The client by every protocol: the same replies, errors, retries, deadlines and ends."""

import asyncio
import doctest
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import aeolus_client.chat
import aeolus_client.client
import aeolus_client.sync
from aeolus_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerUnavailableError,
)
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.broken_server import BrokenServer
from support.metrics import stopped_before
from support.serving import serve_shim

pytestmark = pytest.mark.server

TOKENS = 3500
QUESTION = "What is a zephyr?"
LONG: Any = {"max_tokens": TOKENS, "min_new_tokens": TOKENS}
GREEDY: Any = {"do_sample": False, "num_beams": 1, "max_tokens": 40}
PROTOCOLS = ("http", "grpc", "triton+http")


@pytest.fixture(scope="module")
def urls(triton: TritonServer, shim_url: str) -> dict[str, str]:
    return {
        "http": shim_url,
        "grpc": f"grpc://{triton.grpc_address}",
        "triton+http": f"triton+{triton.http_url}",
    }


@pytest.fixture
def client(urls: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(urls[request.param]) as client:
        yield client


@pytest.mark.parametrize(
    "module",
    [aeolus_client.client, aeolus_client.sync, aeolus_client.chat],
    ids=lambda m: m.__name__,
)
def test_the_examples_of_the_docstrings_are_right(module: Any, shim_url: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        for example in test.examples:
            example.source = example.source.replace("http://127.0.0.1:8000", shim_url)
        runner.run(test)
    assert runner.tries >= 3
    assert runner.failures == 0


def test_a_service_and_its_triton_give_the_same_reply(urls: dict[str, str]) -> None:
    replies = []
    for url in urls.values():
        with Client(url) as client:
            replies.append(client.generate(QUESTION, **GREEDY))
            chunks = list(client.stream(QUESTION, **GREEDY))
            assert len(chunks) > 2
            assert "".join(chunk.text for chunk in chunks) == replies[-1].text
            last = chunks[-1]
            assert last.finish_reason == replies[-1].finish_reason
            assert last.completion_tokens == replies[-1].completion_tokens
    assert replies[0] == replies[1] == replies[2]
    assert "breeze" in replies[0].text


@pytest.mark.parametrize("client", PROTOCOLS, indirect=True)
def test_a_raw_text_is_continued_without_a_template(client: Client) -> None:
    raw = client.generate("The wind", raw=True, **GREEDY)
    asked = client.generate("The wind", **GREEDY)
    assert raw.prompt_tokens < asked.prompt_tokens
    assert client.count_tokens("The wind") == asked.prompt_tokens


@pytest.mark.parametrize("client", PROTOCOLS, indirect=True)
def test_leaving_a_stream_stops_the_engine(client: Client, triton: TritonServer) -> None:
    with stopped_before(triton, TOKENS), closing(client.stream(QUESTION, **LONG)) as chunks:
        next(chunks)


@pytest.mark.parametrize("client", PROTOCOLS, indirect=True)
def test_a_deadline_ends_a_request_and_stops_the_engine(
    client: Client, triton: TritonServer
) -> None:
    with (
        stopped_before(triton, TOKENS),
        pytest.raises(DeadlineExceededError, match="not done after"),
    ):
        client.generate(QUESTION, timeout=0.3, **LONG)


def test_cancelling_the_task_that_waits_stops_the_engine(
    urls: dict[str, str], triton: TritonServer
) -> None:
    async def run() -> None:
        async with AsyncClient(urls["http"]) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.generate(QUESTION, **LONG)

    with stopped_before(triton, TOKENS):
        asyncio.run(run())


def test_a_client_may_be_shared_by_threads(urls: dict[str, str]) -> None:
    with Client(urls["http"]) as client:
        expected = client.generate(QUESTION, **GREEDY)
        replies: list[Any] = []
        threads = [
            threading.Thread(target=lambda: replies.append(client.generate(QUESTION, **GREEDY)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == [expected] * 8


@pytest.mark.parametrize("client", PROTOCOLS, indirect=True)
def test_a_wrong_parameter_is_an_invalid_request(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match="top_p"):
        client.generate(QUESTION, top_p=7.0, do_sample=True)
    wrong: Any = {"warmth": 3}
    with pytest.raises(InvalidRequestError, match="warmth"):
        client.generate(QUESTION, **wrong)


@pytest.mark.parametrize("client", PROTOCOLS, indirect=True)
def test_an_unknown_model_is_not_found(client: Client) -> None:
    with pytest.raises(ModelNotFoundError, match="gpt-4"):
        client.generate(QUESTION, model="gpt-4")


def test_a_key_is_sent_and_its_lack_is_an_error_of_its_own(triton: TritonServer) -> None:
    key = "k" * 32
    with serve_shim(triton.grpc_address, api_keys={"someone": key}) as url:
        with Client(url) as client, pytest.raises(AuthenticationError, match="Api-Key"):
            client.generate(QUESTION)
        with Client(url, api_key=key, model="mistral-7b") as client:
            assert client.generate(QUESTION, **GREEDY).text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_away_is_passed_over(urls: dict[str, str], protocol: str) -> None:
    away = f"{protocol}://127.0.0.1:{free_ports().grpc}"
    with Client([away, urls[protocol]]) as client:
        replies = [client.generate(QUESTION, **GREEDY) for _ in range(2)]
        assert replies[0] == replies[1]
        assert "".join(each.text for each in client.stream(QUESTION, **GREEDY)) == replies[0].text
    with (
        Client([away], retries=1) as client,
        pytest.raises(ConnectionFailedError, match="cannot be reached"),
    ):
        client.generate(QUESTION)


def test_only_a_request_without_a_reply_is_sent_again() -> None:
    """A server that hangs up at once is asked as often as said; one that breaks off, once."""
    with BrokenServer(b"") as silent, Client(silent.url, model="m", retries=2) as client:
        with pytest.raises(ConnectionFailedError):
            client.generate(QUESTION)
        assert silent.requests == 3
    event = b'data: {"choices": [{"text": "ab", "finish_reason": null}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    begun = head + b"%x\r\n%s\r\n" % (len(event), event)
    with BrokenServer(begun) as breaking, Client(breaking.url, model="m", retries=2) as client:
        chunks = client.stream(QUESTION)
        assert next(chunks).text == "ab"
        with pytest.raises(ServerUnavailableError, match="broke the reply off"):
            next(chunks)
        assert breaking.requests == 1


def test_the_predict_and_zephyr_routes_reply_with_their_counts(urls: dict[str, str]) -> None:
    body = {
        "prompt": "The wind",
        "max_new_tokens": 8,
        "do_sample": False,
        "return_full_text": False,
    }
    with Client(urls["http"], model="mistral-7b") as client:
        reply = client.predict(body)
        assert isinstance(reply.output, str)
        assert (reply.completion_tokens, reply.finish_reason) == (8, "length")
        assert reply.prompt_tokens > 0
        assert reply.request_id
        chunks = list(client.stream_predict(body))
        assert "".join(chunk.text for chunk in chunks) == reply.output
        assert {chunk.prompt_tokens for chunk in chunks} == {reply.prompt_tokens}
        assert chunks[-1].completion_tokens == 8
        question = {"user_message": QUESTION, "max_new_tokens": 12, "do_sample": False}
        assert "zephyr" in client.zephyr("system-message", question).output
        with pytest.raises(InvalidRequestError, match="user_message"):
            client.zephyr("python", {"max_new_tokens": 3})


def test_the_routes_of_a_service_are_not_asked_of_a_triton(urls: dict[str, str]) -> None:
    with Client(urls["triton+http"]) as client, pytest.raises(InvalidRequestError, match="http://"):
        client.predict({"prompt": "The wind"})


def test_what_is_served_is_listed_with_its_context(urls: dict[str, str]) -> None:
    with Client(urls["http"]) as client:
        models = {each.name: each for each in client.models()}
        assert models["mistral-7b"].context_length == 4096
        assert models["mistral-7b"].is_ready
        assert "aeolus_requests_running" in client.metrics()
    with Client(urls["grpc"]) as client:
        assert [(each.name, each.context_length) for each in client.models()] == [
            ("ensemble", 4096)
        ]


@pytest.mark.parametrize("urls_given", [[], ["ftp://a"], ["http://a", "grpc://b"], ["a:8000"]])
def test_addresses_of_another_form_are_refused(urls_given: list[str]) -> None:
    with pytest.raises(ValueError, match="give http://host:port"):
        Client(urls_given)
