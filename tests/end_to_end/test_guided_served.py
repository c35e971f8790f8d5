"""Guided replies through shim, ensemble and engine, by the clients that users have."""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel, SecretStr

from aeolus_client import GenerationRequest, InvalidRequestError
from aeolus_client.triton import TritonClient, gather
from launcher.server import TritonServer

pytestmark = pytest.mark.server

MODEL = "zephyr-7b-beta"
QUESTION: Any = [{"role": "user", "content": "What is a zephyr?"}]
LARGE = json.dumps({"properties": {f"p{number}": {} for number in range(1000)}})
"""Takes seconds to compile for the demo's small vocabulary."""


class Wind(BaseModel):
    """What the tests want to know."""

    name: Literal["zephyr", "mistral", "bora"]
    is_gentle: bool
    direction: Literal["west", "north"] | None


@pytest.fixture(scope="module")
def client(shim_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{shim_url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def predict(url: str, **values: Any) -> httpx.Response:
    body = {"messages": QUESTION, "max_new_tokens": 200, "stream": False, **values}
    return httpx.post(f"{url}/v1/models/{MODEL}:predict", json=body, timeout=120)


def test_openais_parse_returns_the_type(client: OpenAI) -> None:
    reply = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Wind)
    assert isinstance(reply.choices[0].message.parsed, Wind)
    assert reply.choices[0].finish_reason == "stop"
    response = client.responses.parse(model=MODEL, input="What is a zephyr?", text_format=Wind)
    assert isinstance(response.output_parsed, Wind)


def test_langchains_structured_output_is_the_type(shim_url: str) -> None:
    chat = ChatOpenAI(model=MODEL, base_url=f"{shim_url}/v1", api_key=SecretStr("none"))
    found = chat.with_structured_output(Wind).invoke("What is a zephyr?")
    assert isinstance(found, Wind)


def test_a_stream_and_several_choices_follow_the_guide(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, response_format=Wind, n=2, temperature=1.5
    ) as stream:
        choices = stream.get_final_completion().choices
    assert len(choices) == 2
    assert all(isinstance(each.message.parsed, Wind) for each in choices)


def test_a_json_object_is_one(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=QUESTION, response_format={"type": "json_object"}, max_tokens=60
    )
    assert (reply.choices[0].message.content or "").lstrip().startswith("{")


@pytest.mark.parametrize(
    ("guide", "pattern"),
    [
        ({"type": "regex", "guide": r"(north|south), [0-9]{2} knots"}, r"\w+, \d\d knots"),
        ({"type": "ebnf_grammar", "guide": 'root ::= "wind " [a-c]'}, "wind [abc]"),
        ({"type": "json_schema", "guide": {"enum": ["bora", 3]}}, '"bora"|3'),
        ({"type": "json_schema", "guide": '{"enum": ["bora", 3]}'}, '"bora"|3'),
    ],
)
def test_the_predict_route_takes_every_guide(
    shim_url: str, guide: dict[str, Any], pattern: str
) -> None:
    for stream in (False, True):
        reply = predict(shim_url, guided_decoding=guide, stream=stream)
        text = reply.text if stream else reply.json()["response"]
        assert re.fullmatch(pattern, text.strip() if "schema" in guide["type"] else text), text
        assert reply.status_code == 200


def test_any_json_is_an_object_or_an_array(shim_url: str) -> None:
    reply = predict(shim_url, guided_decoding={"type": "json"}, max_new_tokens=30)
    assert reply.json()["response"].lstrip()[0] in "{["


def test_a_wrong_schema_is_refused_with_its_place(shim_url: str, client: OpenAI) -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": "number", "minimum": 1}}}
    reply = predict(shim_url, guided_decoding={"type": "json_schema", "guide": schema})
    assert reply.status_code == 400
    assert "guided_decoding: properties.a.minimum does not limit" in reply.text
    with pytest.raises(openai.BadRequestError, match=r"properties\.a\.minimum") as refusal:
        client.chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        )
    assert refusal.value.param == "response_format"
    with pytest.raises(openai.BadRequestError, match=r"properties\.a\.minimum") as refusal:
        client.responses.create(
            model=MODEL,
            input="What?",
            text={"format": {"type": "json_schema", "name": "a", "schema": schema}},
        )
    assert refusal.value.param == "text"


@pytest.mark.parametrize(
    ("guide", "reason"),
    [
        ({"type": "regex", "guide": "("}, "guided_decoding: Regex parsing error"),
        ({"type": "ebnf_grammar", "guide": "root ::= other"}, "line 1, column 10"),
        ({"type": "regex", "guide": "(" * 5 + "a" + "{1,100})" * 5}, "ms a token to follow"),
    ],
)
def test_a_hostile_guide_is_refused(shim_url: str, guide: dict[str, Any], reason: str) -> None:
    reply = predict(shim_url, guided_decoding=guide)
    assert reply.status_code == 400
    assert reason in reply.text


def test_others_are_served_while_a_guide_compiles(shim_url: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        guided = threads.submit(
            predict, shim_url, guided_decoding={"type": "json_schema", "guide": LARGE}
        )
        for _ in range(3):
            assert predict(shim_url, max_new_tokens=4).status_code == 200
            assert not guided.done()


def test_triton_takes_nvidias_tensors(triton: TritonServer) -> None:
    async def ask(**values: Any) -> str:
        client = TritonClient(triton.grpc_address, "ensemble")
        request = GenerationRequest(text_input="A zephyr is", max_tokens=50, **values)
        try:
            return (await gather(client.stream(request))).text
        finally:
            await client.close()

    guide = {"guided_decoding_guide_type": "regex", "guided_decoding_guide": "[0-9]{3}"}
    assert re.fullmatch("[0-9]{3}", asyncio.run(ask(**guide)))
    for wrong, reason in (
        ({"guided_decoding_guide": "a"}, "goes with guided_decoding_guide_type"),
        ({"guided_decoding_guide_type": "a"}, "guided_decoding_guide_type is 'a'"),
        (guide | {"beam_width": 2}, "one beam"),
        (guide | {"min_tokens": 2}, "ends where its guide ends"),
        (guide | {"end_ids": [5]}, "end id of the checkpoint"),
    ):
        with pytest.raises(InvalidRequestError, match=reason):
            asyncio.run(ask(**wrong))
