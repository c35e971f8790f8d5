"""Parameters whose effect the shim brings about itself, through Triton and the engine."""

import pytest
import requests

pytestmark = pytest.mark.server

MODEL = "mistral-7b"
PROMPT = "The wind"


def predict(shim_url: str, **body: object) -> requests.Response:
    body = {"prompt": PROMPT, "max_new_tokens": 10, "return_full_text": False} | body
    url = f"{shim_url}/v1/models/{MODEL}:predict"
    return requests.post(url, json=body, timeout=60)


def test_return_sequences_have_seeds_that_count_up(shim_url: str) -> None:
    three = predict(shim_url, seed=5, temperature=1.5, num_return_sequences=3)
    alone = [predict(shim_url, seed=seed, temperature=1.5) for seed in (5, 6, 7)]
    assert three.json() == [each.json() for each in alone]
    completion_tokens = [int(each.headers["x-usage-completion-tokens"]) for each in alone]
    assert int(three.headers["x-usage-completion-tokens"]) == sum(completion_tokens)
    assert three.headers["x-usage-prompt-tokens"] == alone[0].headers["x-usage-prompt-tokens"]


def test_max_time_returns_what_there_is(shim_url: str) -> None:
    greedy = {"do_sample": False, "max_new_tokens": 400, "min_new_tokens": 400}
    whole = predict(shim_url, **greedy).json()
    plain = predict(shim_url, **greedy, max_time=0.2)
    streamed = predict(shim_url, **greedy, max_time=0.2, stream=True)
    for text in (plain.json(), streamed.text):
        assert 0 < len(text) < len(whole)
        assert whole.startswith(text)
    assert plain.headers["x-finish-reason"] == "length"
    assert 0 < int(plain.headers["x-usage-completion-tokens"]) < 400


def test_max_time_does_not_change_what_ends_before(shim_url: str) -> None:
    greedy = {"do_sample": False, "max_new_tokens": 5}
    limited = predict(shim_url, **greedy, max_time=60)
    plain = predict(shim_url, **greedy)
    assert limited.json() == plain.json()
    assert limited.headers["x-finish-reason"] == plain.headers["x-finish-reason"]


def test_a_generation_config_holds_where_the_request_is_silent(shim_url: str) -> None:
    config = {"do_sample": False, "max_new_tokens": 4, "repetition_penalty": 3.0}
    merged = predict(shim_url, generation_config=config, max_new_tokens=24)
    plain = predict(shim_url, do_sample=False, max_new_tokens=24, repetition_penalty=3.0)
    assert merged.json() == plain.json()
    assert plain.json() != predict(shim_url, do_sample=False, max_new_tokens=24).json()
