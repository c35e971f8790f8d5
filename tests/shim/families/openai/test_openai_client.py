"""The official client against a running shim."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from catalog import load_catalog

pytestmark = pytest.mark.server

CHAT = "zephyr-7b-beta"
TEXT = "mistral-7b"
QUESTION = "What is a zephyr?"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(shim_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{shim_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def predict(shim_url: str, model: str, **body: object) -> requests.Response:
    return requests.post(f"{shim_url}/v1/models/{model}:predict", json=body, timeout=60)


def test_a_chat_answers_as_predict_does(client: OpenAI, shim_url: str) -> None:
    reply = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_completion_tokens=12, temperature=0
    )
    same = predict(shim_url, CHAT, messages=MESSAGES, max_new_tokens=12, temperature=0)
    choice = reply.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content == same.json()["response"]
    assert choice.finish_reason == same.headers["x-finish-reason"] == "length"
    assert (reply.object, reply.model) == ("chat.completion", CHAT)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == int(same.headers["x-usage-prompt-tokens"])
    assert reply.usage.completion_tokens == 12
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 12


def test_a_reply_that_ends_by_itself_says_stop(client: OpenAI) -> None:
    reply = client.chat.completions.create(model=CHAT, messages=MESSAGES, temperature=0)
    assert reply.choices[0].finish_reason == "stop"


def test_a_streamed_chat_is_the_plain_one_in_pieces(client: OpenAI) -> None:
    plain = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=16, temperature=0
    )
    chunks = list(
        client.chat.completions.create(
            model=CHAT,
            messages=MESSAGES,
            max_tokens=16,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, last = chunks
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == plain.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in pieces]
    assert reasons == [None] * (len(pieces) - 1) + ["length"]
    assert last.choices == []
    assert last.usage == plain.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_a_stream_ends_in_done_and_tells_no_usage_unasked(shim_url: str) -> None:
    body = {"model": CHAT, "messages": MESSAGES, "max_tokens": 3, "stream": True}
    reply = requests.post(f"{shim_url}/v1/chat/completions", json=body, timeout=60)
    assert reply.headers["content-type"] == "text/event-stream"
    *events, done, end = reply.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "usage" not in event for event in events)


def test_n_sequences_have_seeds_of_their_own(client: OpenAI) -> None:
    def texts(seed: int, n: int) -> list[str | None]:
        reply = client.chat.completions.create(
            model=CHAT, messages=MESSAGES, max_tokens=12, temperature=4, top_p=1, seed=seed, n=n
        )
        assert [choice.index for choice in reply.choices] == list(range(n))
        assert reply.usage is not None
        assert reply.usage.completion_tokens <= 12 * n
        return [choice.message.content for choice in reply.choices]

    three = texts(7, 3)
    assert len(set(three)) == 3
    assert texts(8, 2) == three[1:]


def test_streamed_sequences_come_together(client: OpenAI) -> None:
    create: Callable[..., Any] = partial(
        client.chat.completions.create,
        model=CHAT,
        messages=MESSAGES,
        max_tokens=12,
        temperature=4,
        top_p=1,
        seed=3,
        n=3,
    )
    plain = create()
    texts = ["", "", ""]
    for chunk in create(stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
        usage = chunk.usage
    assert texts == [choice.message.content for choice in plain.choices]
    assert usage == plain.usage


def test_a_completion_continues_the_text_as_it_stands(client: OpenAI, shim_url: str) -> None:
    reply = client.completions.create(
        model=TEXT, prompt="The wind", temperature=0, extra_body={"skip_special_tokens": False}
    )
    same = predict(
        shim_url, TEXT, prompt="The wind", max_new_tokens=16, temperature=0, return_full_text=False
    )
    assert reply.choices[0].text == same.json()
    assert reply.object == "text_completion"
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 16


def test_each_prompt_of_a_list_has_its_choices(client: OpenAI) -> None:
    prompts = ["The wind", "A zephyr is a gentle"]
    alone = [
        client.completions.create(model=TEXT, prompt=prompt, temperature=0, max_tokens=5)
        for prompt in prompts
    ]
    together = client.completions.create(
        model=TEXT, prompt=prompts, temperature=0, max_tokens=5, n=2, echo=True
    )
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in together.choices] == [
        prompt + reply.choices[0].text
        for prompt, reply in zip(prompts, alone, strict=True)
        for _ in range(2)
    ]
    assert together.usage is not None
    usages = [reply.usage for reply in alone if reply.usage is not None]
    assert together.usage.prompt_tokens == sum(usage.prompt_tokens for usage in usages)
    assert together.usage.completion_tokens == 2 * sum(each.completion_tokens for each in usages)


def test_a_streamed_echo_begins_with_the_prompt(client: OpenAI) -> None:
    chunks = client.completions.create(
        model=TEXT, prompt="The wind", max_tokens=3, echo=True, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in chunks).startswith("The wind")


def test_generate_parameters_travel_in_the_extra_body(client: OpenAI, shim_url: str) -> None:
    reply = client.chat.completions.create(
        model=CHAT,
        messages=MESSAGES,
        max_tokens=12,
        extra_body={"num_beams": 3, "repetition_penalty": 1.2},
    )
    same = predict(
        shim_url,
        CHAT,
        messages=MESSAGES,
        max_new_tokens=12,
        num_beams=3,
        repetition_penalty=1.2,
    )
    assert reply.choices[0].message.content == same.json()["response"]


def test_the_choices_of_a_beam_search_are_its_best(client: OpenAI) -> None:
    def replies(beams: int, n: int) -> list[str]:
        reply = client.completions.create(
            model=TEXT, prompt=["The wind", "A breeze"], n=n, extra_body={"num_beams": beams}
        )
        return [choice.text for choice in reply.choices]

    first, second, other_first, _ = replies(3, 2)
    assert first != second
    assert replies(3, 1) == [first, other_first]


def test_a_stop_string_ends_a_reply_and_is_cut(client: OpenAI) -> None:
    def reply(stop: str | None) -> tuple[str, str]:
        choice = client.chat.completions.create(
            model=CHAT, messages=MESSAGES, max_tokens=30, temperature=0, stop=stop
        ).choices[0]
        return choice.message.content or "", choice.finish_reason

    text, _ = reply(None)
    stop = text[12:15]
    assert reply(stop) == (text.partition(stop)[0], "stop")


def test_log_probabilities_come_with_each_token(client: OpenAI) -> None:
    create: Callable[..., Any] = partial(
        client.chat.completions.create,
        model=CHAT,
        messages=MESSAGES,
        max_tokens=8,
        temperature=0,
        logprobs=True,
    )
    plain = create().choices[0]
    tokens = plain.logprobs.content
    assert len(tokens) == 8
    assert "".join(token.token for token in tokens) == plain.message.content
    assert all(token.logprob <= 0 and token.top_logprobs == [] for token in tokens)
    assert b"".join(map(bytes, (token.bytes for token in tokens))).decode() == plain.message.content
    streamed = [
        token
        for chunk in create(stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.token for token in streamed] == [token.token for token in tokens]
    assert [each.logprob for each in streamed] == pytest.approx([each.logprob for each in tokens])


def test_a_reply_cut_by_time_has_a_log_probability_for_each_token(client: OpenAI) -> None:
    create: Callable[..., Any] = client.chat.completions.create
    endless = {"max_time": 1e-3, "eos_token_id": -1}
    reply = create(
        model=CHAT, messages=MESSAGES, max_tokens=3500, logprobs=True, extra_body=endless
    )
    assert reply.choices[0].finish_reason == "length"
    assert len(reply.choices[0].logprobs.content) == reply.usage.completion_tokens < 3500


def test_a_completions_log_probabilities_have_offsets(client: OpenAI) -> None:
    create: Callable[..., Any] = partial(
        client.completions.create,
        model=TEXT,
        prompt="The wind",
        max_tokens=6,
        temperature=0,
        logprobs=0,
    )
    choice = create().choices[0]
    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert len(logprobs.token_logprobs) == len(logprobs.text_offset) == 6
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)
    chunks = [chunk.choices[0] for chunk in create(stream=True)]
    offsets = [
        offset for chunk in chunks if chunk.logprobs for offset in chunk.logprobs.text_offset
    ]
    assert offsets == logprobs.text_offset


@pytest.mark.not_on_executor("likely tokens beside those of a reply")
@pytest.mark.parametrize("stream", [False, True])
def test_a_repeated_prompt_comes_with_its_log_probabilities(client: OpenAI, stream: bool) -> None:
    prompt = "The wind blows"

    def choice(**more: Any) -> tuple[str, dict[str, list[Any]]]:
        create: Callable[..., Any] = client.completions.create
        reply = create(model=TEXT, prompt=prompt, temperature=0, stream=stream, **more)
        chunks = [chunk.choices[0] for chunk in (reply if stream else [reply])]
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        lists = {
            name: [
                value
                for each in chunks
                if each.logprobs is not None
                for value in getattr(each.logprobs, name)
            ]
            for name in names
        }
        return "".join(each.text for each in chunks), lists

    text, whole = choice(echo=True, logprobs=3, max_tokens=4)
    assert text.startswith(prompt)
    assert "".join(whole["tokens"]) == text
    lengths = {name: len(values) for name, values in whole.items()}
    assert len({*lengths.values()}) == 1
    for token, offset in zip(whole["tokens"], whole["text_offset"], strict=True):
        assert text[offset:].startswith(token)
    assert (whole["token_logprobs"][0], whole["top_logprobs"][0]) == (None, None)
    rest = zip(whole["tokens"], whole["token_logprobs"], whole["top_logprobs"], strict=True)
    for _, value, top in list(rest)[1:]:
        assert value in top.values()
        assert value <= max(top.values()) <= 0
        assert 3 <= len(top) <= 4
    prompt_only_text, prompt_only = choice(echo=True, logprobs=3, max_tokens=0)
    assert prompt_only_text == prompt
    count = len(prompt_only["tokens"])
    assert count == len(whole["tokens"]) - 4
    assert prompt_only["token_logprobs"][1:] == pytest.approx(whole["token_logprobs"][1:count])
    # What follows the prompt is what follows it without an echo.
    _, reply = choice(logprobs=3, max_tokens=4)
    assert reply["token_logprobs"] == pytest.approx(whole["token_logprobs"][count:], abs=1e-4)


def test_a_prompt_of_token_ids_is_repeated_as_text(client: OpenAI) -> None:
    create: Callable[..., Any] = client.completions.create
    given = {"model": TEXT, "prompt": [100, 200, 300], "temperature": 0, "max_tokens": 3}
    reply = create(**given, echo=True).choices[0]
    scored = create(**given, echo=True, logprobs=0).choices[0]
    assert reply.text == scored.text == "".join(scored.logprobs.tokens)
    assert reply.logprobs is None
    assert reply.text.endswith(create(**given).choices[0].text)
    assert len(scored.logprobs.tokens) == 6
    assert scored.logprobs.top_logprobs is None


@pytest.mark.not_on_executor("likely tokens beside those of a reply")
def test_likely_tokens_come_beside_those_of_a_chat(client: OpenAI) -> None:
    given: Any = {"model": CHAT, "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    reply = client.chat.completions.create(**given, logprobs=True, top_logprobs=5)
    assert reply.choices[0].logprobs is not None
    for token in reply.choices[0].logprobs.content or []:
        assert len(token.top_logprobs) == 5
        assert token.top_logprobs[0].logprob == token.logprob  # greedy
        assert [each.logprob for each in token.top_logprobs] == sorted(
            (each.logprob for each in token.top_logprobs), reverse=True
        )
        assert all(each.bytes for each in token.top_logprobs)
    response = client.responses.create(
        model=CHAT, input=QUESTION, max_output_tokens=8, temperature=0, top_logprobs=5
    )
    content: Any = response.output[0]
    found = [each.top_logprobs[1].token for each in content.content[0].logprobs]
    expected = reply.choices[0].logprobs.content or []
    assert found == [each.top_logprobs[1].token for each in expected]


def test_a_bias_and_a_prompt_of_token_ids(client: OpenAI) -> None:
    prompt = [100, 200, 300]

    def text(**more: Any) -> str:
        create: Callable[..., Any] = client.completions.create
        reply = create(model=TEXT, prompt=prompt, max_tokens=4, temperature=0, **more)
        assert reply.usage.prompt_tokens == 3
        return str(reply.choices[0].text)

    forced = text(logit_bias={"100": 100})
    assert forced != text()
    assert forced[: len(forced) // 4] * 4 == forced


def test_the_served_models_are_listed(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == set(load_catalog())
    assert client.models.retrieve(CHAT).id == CHAT


def test_a_refusal_names_the_parameter(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model=CHAT,
            messages=MESSAGES,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )
    error = raised.value
    assert (error.param, error.type) == ("tools", "invalid_request_error")
    assert "were not trained to call tools" in error.message


def test_what_only_the_engine_side_can_refuse_is_a_bad_request_too(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="the prompt has") as raised:
        client.completions.create(model=TEXT, prompt="wind " * 6000)
    assert (raised.value.param, raised.value.code) == ("prompt", "invalid_value")
    with pytest.raises(openai.BadRequestError, match="logit_bias holds") as raised:
        client.chat.completions.create(
            model=CHAT, messages=MESSAGES, stream=True, logit_bias={"99999": 1}
        )
    assert (raised.value.param, raised.value.code) == ("logit_bias", "invalid_value")


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' is not served here") as raised:
        client.models.retrieve("gpt-4o")
    assert (raised.value.param, raised.value.code) == ("model", "model_not_found")
