"""A conversation keeps its turns and is trimmed by the tokens that the service counts."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aeolus_client import AsyncChat, AsyncClient, Chat, Client, InvalidRequestError
from launcher.server import TritonServer
from support.metrics import stopped_before

pytestmark = pytest.mark.server

SYSTEM = "Answer in one sentence."
GREEDY: Any = {"do_sample": False, "num_beams": 1, "max_tokens": 20}
QUESTIONS = ["What is a zephyr?", "And a mistral?", "What is beam search?", "What is a token?"]


@pytest.fixture(params=["http", "grpc"])
def client(shim_url: str, triton: TritonServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    urls = {"http": shim_url, "grpc": f"grpc://{triton.grpc_address}"}
    with Client(urls[request.param]) as client:
        yield client


def test_a_chat_keeps_its_turns(client: Client) -> None:
    chat = Chat(client, system=SYSTEM, **GREEDY)
    first = chat.send(QUESTIONS[0])
    second = chat.send(QUESTIONS[1])
    assert [each["role"] for each in chat.messages] == [
        "system",
        *("user", "assistant") * 2,
    ]
    assert chat.messages[2]["content"] == first.text
    assert second.prompt_tokens > first.prompt_tokens + first.completion_tokens
    assert chat.tokens_used == second.prompt_tokens + second.completion_tokens
    assert chat.conversation.context_length == 4096


def test_the_oldest_turns_are_not_sent_when_the_context_is_full(client: Client) -> None:
    limit = 130
    chat = Chat(client, system=SYSTEM, context_length=limit, **GREEDY)
    for number in range(8):
        reply = chat.send(QUESTIONS[number % len(QUESTIONS)])
        assert reply.prompt_tokens + GREEDY["max_tokens"] <= limit
    conversation = chat.conversation
    assert len(chat.messages) == 17
    assert 0 < conversation.first_sent < 14
    # One exchange more would have been too many: no more was dropped than had to be.
    sent = [chat.messages[0], *conversation.turns[conversation.first_sent - 2 : -1]]
    assert client.count_tokens(sent) + GREEDY["max_tokens"] > limit
    again = [chat.messages[0], *conversation.turns[conversation.first_sent : -1]]
    assert client.count_tokens(again) == reply.prompt_tokens


def test_a_reply_that_was_left_stays_as_far_as_it_came(
    client: Client, triton: TritonServer
) -> None:
    chat = Chat(client, **GREEDY | {"max_tokens": 3500, "min_new_tokens": 3500})
    with stopped_before(triton, 3500), closing(chat.stream(QUESTIONS[0])) as chunks:
        begun = next(chunks).text
    assert chat.messages[-1]["role"] == "assistant"
    assert chat.messages[-1]["content"].startswith(begun)  # more may have come meanwhile
    assert chat.tokens_used == 0
    chat.conversation.parameters = dict(GREEDY)
    assert chat.send(QUESTIONS[1]).prompt_tokens > 0


def test_a_request_that_fails_leaves_the_conversation_as_it_was(client: Client) -> None:
    chat = Chat(client, **GREEDY)
    chat.send(QUESTIONS[0])
    before = list(chat.messages)
    chat.conversation.parameters["top_p"] = 7.0
    chat.conversation.parameters.pop("do_sample")
    with pytest.raises(InvalidRequestError, match="top_p"):
        chat.send(QUESTIONS[1])
    assert chat.messages == before


def test_a_saved_chat_goes_on_and_its_last_question_can_be_asked_again(shim_url: str) -> None:
    async def run() -> None:
        async with AsyncClient(shim_url) as client:
            chat = AsyncChat(client, system=SYSTEM, **GREEDY)
            for question in QUESTIONS[:2]:
                await chat.send(question)
            saved = AsyncChat.from_json(client, chat.to_json())
            assert saved.messages == chat.messages
            assert saved.parameters == chat.parameters
            last = saved.take_back()
            assert last == QUESTIONS[1]
            await saved.send(last)
            assert saved.messages == chat.messages
            assert f"## user\n\n{QUESTIONS[0]}\n" in chat.to_markdown()
            chat.clear()
            assert [each["role"] for each in chat.messages] == ["system"]
            for text in ("[]", "{}", '{"turns": [{"role": 3}]}'):
                with pytest.raises(ValueError, match="not a conversation"):
                    AsyncChat.from_json(client, text)

    asyncio.run(run())
