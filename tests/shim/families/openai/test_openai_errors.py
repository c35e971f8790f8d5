"""OpenAI's routes without a Triton: the shape of every refusal."""

from typing import Any

import pytest
from starlette.testclient import TestClient

CHAT = "/v1/chat/completions"
ROUTES = [CHAT, "/v1/completions", "/v1/responses"]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "mistral-7b", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "mistral-7b", "prompt": "hi"},
    "/v1/responses": {"model": "mistral-7b", "input": "hi"},
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "Invalid JSON payload: Expecting property name"),
        (b"x" * 10_001, 413, "The request body is larger than 10000 bytes"),
        (b"{}", 400, "model: Field required"),
    ],
)
def test_a_bad_body_is_refused_as_openai_does(
    shim: TestClient, route: str, body: bytes, status: int, text: str
) -> None:
    reply = shim.post(route, content=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert error["message"].startswith(text)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("route", ROUTES)
def test_parameters_are_refused_by_name(shim: TestClient, route: str) -> None:
    error = shim.post(route, json=BODIES[route] | {"temprature": 1}).json()["error"]
    assert error == {
        "message": "unknown parameter 'temprature'; did you mean 'temperature'?",
        "type": "invalid_request_error",
        "param": "temprature",
        "code": "unknown_parameter",
    }
    error = shim.post(route, json=BODIES[route] | {"top_p": 2}).json()["error"]
    assert (error["param"], error["code"]) == ("top_p", "invalid_value")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_without_triton_the_routes_are_unavailable(
    shim: TestClient, route: str, stream: bool
) -> None:
    reply = shim.post(route, json=BODIES[route] | {"stream": stream})
    assert reply.status_code == 503
    assert reply.headers["retry-after"]
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "service_unavailable")


def test_an_unknown_path_has_openais_error(shim: TestClient) -> None:
    reply = shim.post("/v1/embeddings", json={})
    assert reply.status_code == 404
    assert (
        reply.json()["error"]["message"]
        == "There is no /v1/embeddings here; GET / lists the routes."
    )
