"""Which priorities the holders of API keys may ask for."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from catalog import load_catalog
from shim.app import create_app
from shim.parameters.problems import InvalidParametersError
from shim.parameters.translation import check_engine, generation_request
from shim.parameters.validation import read_parameters
from shim.settings import Settings

KEYS = {"batch": "correct-horse-battery", "editor": "staple-staple-staple"}
UNAVAILABLE = 503  # what a request gets that was let in, as no Triton runs
BODIES: dict[str, dict[str, Any]] = {
    "/v1/models/mistral-7b:predict": {"prompt": "hi"},
    "/zephyr/raw": {"user_message": "hi"},
    "/zephyr/python": {"user_message": "hi"},
    "/zephyr/code-doc": {"code": "hi"},
    "/v1/chat/completions": {
        "model": "mistral-7b",
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/completions": {"model": "mistral-7b", "prompt": "hi"},
}


@pytest.fixture(scope="module")
def limited(settings: Settings) -> Iterator[TestClient]:
    values = {"api_keys": KEYS, "priority_limits": {"editor": 0.8}}
    with TestClient(create_app(Settings.model_validate(settings.model_dump() | values))) as shim:
        yield shim


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("holder", "priority", "status"),
    [
        ("batch", 0.5, UNAVAILABLE),
        ("batch", 0, UNAVAILABLE),
        ("batch", 0.6, 403),
        ("editor", 0.8, UNAVAILABLE),
        ("editor", 0.9, 403),
    ],
)
def test_each_route_takes_a_priority_up_to_the_limit_of_the_key(
    limited: TestClient, path: str, holder: str, priority: float, status: int
) -> None:
    reply = limited.post(
        path,
        json=BODIES[path] | {"priority": priority},
        headers={"authorization": f"Bearer {KEYS[holder]}"},
    )
    assert reply.status_code == status, reply.text
    if status == 403:
        limit = 0.8 if holder == "editor" else 0.5
        text = f"priority is {priority:g}, but this API key may ask for at most {limit:g}"
        assert text in reply.text


@pytest.mark.parametrize("path", BODIES)
def test_without_keys_every_request_may_have_any(shim: TestClient, path: str) -> None:
    assert shim.post(path, json=BODIES[path] | {"priority": 1}).status_code == UNAVAILABLE


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("priority", [-0.1, 1.1, "high"])
def test_a_priority_is_from_0_to_1(shim: TestClient, path: str, priority: object) -> None:
    reply = shim.post(path, json=BODIES[path] | {"priority": priority})
    assert reply.status_code in (400, 422)
    assert "priority" in reply.text


def test_the_cpp_backend_takes_no_priority_but_the_default() -> None:
    model = load_catalog()["mistral-7b"]

    def ask(priority: float) -> None:
        parameters = read_parameters({"prompt": "hi", "priority": priority}, model)
        check_engine(generation_request(parameters, model), "tensorrtllm-1.2.1")

    ask(0.5)
    with pytest.raises(InvalidParametersError, match="passes no priority to its executor"):
        ask(0.9)
