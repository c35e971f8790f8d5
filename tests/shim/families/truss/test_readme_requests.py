"""The requests of the five READMEs, their host and shell quoting alone changed."""

import os
from typing import Any

import httpx
import pytest
import requests

pytestmark = pytest.mark.server

TIMEOUT = 300
KEY = os.environ.get("AEOLUS_TEST_KEY", "{YOUR_API_KEY}")
"""In the place of the READMEs' own words where a service has keys."""
LIFE: dict[str, Any] = {"prompt": "What's the meaning of life?", "max_new_tokens": 4096}
CODE = (
    "outputs = pipe(prompt, max_new_tokens=query.max_new_tokens, do_sample=query.do_sample, "
    "temperature=query.temperature, top_k=query.top_k, top_p=query.top_p)"
)
FRIENDLY = (
    "You are a friendly chatbot who always responds in the style of a python developer that uses "
    "a combination of natural language and markdown to answer questions."
)
SAMPLING = """
  "max_new_tokens": 256,
  "do_sample": true,
  "temperature": 0.7,
  "top_k": 50,
  "top_p": 0.95"""


@pytest.mark.parametrize("model", ["mistral-7b", "llama-2-70b"])
def test_the_prompt_models_answer_curl(shim_url: str, model: str) -> None:
    reply = httpx.post(
        f"{shim_url}/model_versions/{model}/predict",
        headers={"Authorization": f"Api-Key {KEY}"},
        json=LIFE,
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    assert len(reply.json()) > len(LIFE["prompt"])
    assert LIFE["prompt"] in reply.json()


@pytest.mark.parametrize("model", ["mistral-7b", "llama-2-70b"])
def test_the_prompt_models_answer_truss_predict(shim_url: str, model: str) -> None:
    reply = httpx.post(
        f"{shim_url}/v1/models/{model}:predict",
        headers={"Authorization": f"Api-Key {KEY}"},
        json={"prompt": "What is the meaning of life?", "max_new_tokens": 4096},
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    assert "What is the meaning of life?" in reply.json()


def test_llama_3_answers_curl(shim_url: str) -> None:
    reply = httpx.post(
        f"{shim_url}/model_versions/llama-3-8b-instruct/predict",
        headers={"Authorization": f"Api-Key {KEY}"},
        json={"messages": [{"role": "user", "content": "What even is AGI?"}], "max_tokens": 128},
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    assert "What even is AGI?" in reply.json()["output"]


def test_stablelm_streams_to_requests(shim_url: str) -> None:
    messages = [
        {"role": "user", "content": "What is a zephyr?"},
        {
            "role": "assistant",
            "content": "A zephyr is a gentle, cool breeze that usually blows from the mountains or "
            "highland regions.",
        },
        {"role": "user", "content": "What is the speed in MPH of a zephyr?"},
    ]
    reply = requests.post(
        f"{shim_url}/development/predict",
        headers={"Authorization": "Api-Key BASETEN-API-KEY"},
        json={"messages": messages, "max_new_tokens": 1024, "stream": True},
        stream=True,
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    assert reply.headers["transfer-encoding"] == "chunked"
    assert b"".join(reply.iter_content()).decode("utf-8").strip()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("python", '{"user_message": "string",' + SAMPLING + ",\n}"),
        (
            "system-message",
            '{"user_message": "Your message here",\n'
            '  "system_message": "Your custom system message here",' + SAMPLING + "\n}",
        ),
        (
            "code-doc",
            f'{{"code": "{CODE}",\n  "language": "python",\n  "include_comments": true,'
            f"{SAMPLING}\n}}",
        ),
        (
            "structured-code-doc",
            f'{{"user_message": "{CODE}",{SAMPLING},\n  "system_message": "{FRIENDLY}"\n}}',
        ),
    ],
)
def test_zephyrs_payloads_are_answered_as_printed(shim_url: str, route: str, body: str) -> None:
    reply = httpx.post(f"{shim_url}/zephyr/{route}", content=body, timeout=TIMEOUT)
    assert reply.status_code == 200
    assert list(reply.json()) == ["response"]
    assert reply.json()["response"]
