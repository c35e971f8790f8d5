"""Every predict route in front of a real tritonserver."""

import json
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from launcher.server import TritonServer
from shim import health
from shim.app import create_app
from shim.settings import Settings

pytestmark = pytest.mark.server

QUESTION = "What is a zephyr?"
MESSAGES = [{"role": "user", "content": QUESTION}]
GREEDY = {"do_sample": False, "num_beams": 1, "max_new_tokens": 40, "stream": False}
TIMEOUT = 120


def ask(shim_url: str, model: str, **parameters: Any) -> httpx.Response:
    takes_prompt = model in ("mistral-7b", "llama-2-70b")
    question = {"prompt": QUESTION} if takes_prompt else {"messages": MESSAGES}
    return httpx.post(
        f"{shim_url}/v1/models/{model}:predict",
        json={**question, **GREEDY, **parameters},
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/v1/models/mistral-7b:predict", None),
        ("/v1/models/model:predict", "model-mistral-7b.localhost"),
        ("/predict", "model-mistral-7b.localhost"),
        ("/development/predict", "model-mistral-7b.localhost"),
        ("/production/predict", "model-mistral-7b.localhost"),
        ("/environments/staging/predict", "model-mistral-7b.localhost"),
        ("/deployment/abc/predict", "model-mistral-7b.localhost"),
        ("/model_versions/mistral-7b/predict", None),
    ],
)
def test_every_route_reaches_the_model_that_it_names(
    shim_url: str, path: str, host: str | None
) -> None:
    reply = httpx.post(
        shim_url + path,
        json={"prompt": QUESTION, **GREEDY},
        headers={"host": host} if host else {},
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    assert QUESTION in reply.json()  # a bare string, with the prompt: Mistral's reply


@pytest.mark.parametrize("path", ["/predict", "/development/predict", "/v1/models/model:predict"])
def test_without_a_label_the_default_model_answers(shim_url: str, path: str) -> None:
    reply = httpx.post(shim_url + path, json={"messages": MESSAGES, **GREEDY}, timeout=TIMEOUT)
    assert reply.status_code == 200
    assert list(reply.json()) == ["output"]


@pytest.mark.parametrize("model", ["stablelm-zephyr-3b", "llama-3-8b-instruct"])
def test_output_repeats_the_conversation_without_special_tokens(shim_url: str, model: str) -> None:
    reply = ask(shim_url, model)
    assert reply.status_code == 200
    assert list(reply.json()) == ["output"]
    answer = ask(shim_url, model, return_full_text=False).json()["output"]
    assert answer
    assert QUESTION not in answer
    assert QUESTION in reply.json()["output"]
    assert reply.json()["output"].endswith(answer)


@pytest.mark.parametrize("model", ["mistral-7b", "llama-2-70b"])
def test_a_bare_string_continues_the_prompt(shim_url: str, model: str) -> None:
    reply = ask(shim_url, model)
    assert reply.status_code == 200
    assert isinstance(reply.json(), str)
    continuation = ask(shim_url, model, return_full_text=False, skip_special_tokens=True).json()
    whole = ask(shim_url, model, skip_special_tokens=True).json()
    assert continuation
    assert whole == QUESTION + continuation


def test_zephyr_replies_with_the_answer_alone(shim_url: str) -> None:
    reply = ask(shim_url, "zephyr-7b-beta")
    assert reply.status_code == 200
    assert list(reply.json()) == ["response"]
    assert QUESTION not in reply.json()["response"]


def test_zephyr_takes_user_and_system_message_too(shim_url: str) -> None:
    by_fields = httpx.post(
        f"{shim_url}/model_versions/zephyr-7b-beta/predict",
        json={"user_message": QUESTION, "system_message": "Answer briefly.", **GREEDY},
        timeout=TIMEOUT,
    )
    by_messages = httpx.post(
        f"{shim_url}/model_versions/zephyr-7b-beta/predict",
        json={"messages": [{"role": "system", "content": "Answer briefly."}, *MESSAGES], **GREEDY},
        timeout=TIMEOUT,
    )
    assert by_fields.status_code == 200
    assert by_fields.json() == by_messages.json()


def test_usage_and_reason_are_in_the_headers(shim_url: str) -> None:
    cut = ask(shim_url, "mistral-7b", max_new_tokens=3, min_new_tokens=3)
    assert cut.headers["x-usage-completion-tokens"] == "3"
    assert cut.headers["x-finish-reason"] == "length"
    assert int(cut.headers["x-usage-prompt-tokens"]) > 1
    whole = ask(shim_url, "stablelm-zephyr-3b", max_new_tokens=400)
    assert whole.headers["x-finish-reason"] == "stop"
    assert 0 < int(whole.headers["x-usage-completion-tokens"]) < 400


def test_every_reply_has_a_request_id_of_its_own(shim_url: str) -> None:
    first, second = ask(shim_url, "mistral-7b"), ask(shim_url, "mistral-7b", stream=True)
    assert first.headers["x-request-id"]
    assert second.headers["x-request-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("limit", ["max_new_tokens", "max_tokens"])
def test_both_spellings_limit_the_new_tokens(shim_url: str, limit: str) -> None:
    reply = ask(shim_url, "llama-3-8b-instruct", **{"max_new_tokens": None, limit: 5})
    assert reply.headers["x-usage-completion-tokens"] == "5"


def test_max_length_counts_the_prompt(shim_url: str) -> None:
    prompt_tokens = int(ask(shim_url, "mistral-7b").headers["x-usage-prompt-tokens"])
    reply = ask(
        shim_url, "mistral-7b", max_new_tokens=None, max_length=prompt_tokens + 4, min_new_tokens=4
    )
    assert reply.headers["x-usage-completion-tokens"] == "4"
    assert reply.headers["x-finish-reason"] == "length"


def test_a_seed_makes_sampling_repeatable(shim_url: str) -> None:
    sampled = {"do_sample": True, "temperature": 5.0, "top_k": 0, "top_p": 1.0, "stream": False}
    first, again, other = (
        ask(shim_url, "mistral-7b", **sampled, seed=seed).json() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_unseeded_sampling_differs_from_request_to_request(shim_url: str) -> None:
    sampled = {"do_sample": True, "temperature": 5.0, "top_k": 0, "top_p": 1.0}
    assert len({ask(shim_url, "mistral-7b", **sampled).json() for _ in range(4)}) > 1


@pytest.mark.parametrize("greedy", [{"temperature": 0}, {"do_sample": None, "top_p": 0}])
def test_temperature_or_top_p_0_is_greedy(shim_url: str, greedy: dict[str, Any]) -> None:
    sampled_as_greedy = ask(shim_url, "mistral-7b", **{"do_sample": None, **greedy})
    assert sampled_as_greedy.json() == ask(shim_url, "mistral-7b").json()


def test_the_body_is_json_whatever_its_type_says(shim_url: str) -> None:
    body = json.dumps({"prompt": QUESTION, **GREEDY})
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = httpx.post(
            f"{shim_url}/v1/models/mistral-7b:predict",
            content=body,
            headers={"content-type": content_type},
            timeout=TIMEOUT,
        )
        assert reply.status_code == 200


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(shim_url: str) -> None:
    for stream in (False, True):
        reply = ask(shim_url, "mistral-7b", max_length=1, max_new_tokens=None, stream=stream)
        assert reply.status_code == 400
        assert list(reply.json()) == ["error"]
        assert " 1" in reply.json()["error"]
        assert reply.headers["x-baseten-error-code"] == "700"
        assert reply.headers["x-request-id"]


def test_models_are_ready(shim_url: str) -> None:
    for path in health.READY:
        assert httpx.get(shim_url + path, timeout=TIMEOUT).json() == {"status": "ready"}
    for path in ("/v1/models/mistral-7b", "/v1/models/model", "/v1/models/mistral-7b/loaded"):
        reply = httpx.get(shim_url + path, timeout=TIMEOUT)
        assert reply.status_code == 200
        assert reply.json()["object"] == "model"


def test_an_ensemble_that_triton_does_not_have_is_unavailable(triton: TritonServer) -> None:
    settings = Settings(
        triton_addresses=[triton.grpc_address],
        models={"mistral-7b": "missing"},
        default_model="mistral-7b",
    )
    with TestClient(create_app(settings)) as shim:
        for stream in (False, True):
            reply = shim.post("/predict", json={"prompt": QUESTION, "stream": stream})
            assert reply.status_code == 503
            assert reply.headers["retry-after"]
        assert shim.get("/health/ready").status_code == 503
        assert shim.get("/v1/models/mistral-7b").status_code == 503
