from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from shim.app import create_app
from shim.settings import Settings

KEY = "correct-horse-battery"
UNAVAILABLE = 503  # what a request gets that was let in, as no Triton runs


@pytest.fixture
def guarded(settings: Settings) -> Iterator[TestClient]:
    keys = {"ann": KEY, "bob": "staple-staple-staple"}
    with TestClient(
        create_app(Settings.model_validate(settings.model_dump() | {"api_keys": keys}))
    ) as shim:
        yield shim


@pytest.mark.parametrize("scheme", ["Api-Key", "Bearer", "bearer", "API-KEY"])
def test_a_known_key_is_let_in(guarded: TestClient, scheme: str) -> None:
    reply = guarded.post(
        "/v1/models/mistral-7b:predict",
        json={"prompt": "hi"},
        headers={"authorization": f"{scheme} {KEY}"},
    )
    assert reply.status_code == UNAVAILABLE


@pytest.mark.parametrize(
    "authorization",
    ["", KEY, f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer", "Bearer \xff"],
)
@pytest.mark.parametrize(
    ("path", "member"),
    [("/predict", "error"), ("/zephyr/raw", "detail"), ("/nothing", "error")],
)
def test_everybody_else_is_refused_in_the_form_of_the_route(
    guarded: TestClient, path: str, member: str, authorization: str
) -> None:
    reply = guarded.post(path, headers={b"authorization": authorization.encode("latin-1")})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert list(reply.json()) == [member]
    assert "Authorization: Api-Key <key>" in reply.json()[member]
    assert KEY[:-1] not in reply.text


def test_openai_routes_refuse_as_openai_does(guarded: TestClient) -> None:
    reply = guarded.post("/v1/chat/completions", json={})
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


def test_pages_health_and_metrics_are_open(guarded: TestClient) -> None:
    for path in ("/", "/docs", "/openapi.json", "/health/live", "/metrics"):
        assert guarded.get(path).status_code == 200, path


def test_keys_show_up_neither_in_log_nor_in_metrics(
    guarded: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for key in (KEY, f"{KEY}x"):
        guarded.post("/predict", json={}, headers={"authorization": f"Bearer {key}"})
    assert KEY not in caplog.text + guarded.get("/metrics").text
    fields = [each.fields for each in caplog.records if hasattr(each, "fields")]
    assert "ann" in [each.get("key") for each in fields]


def test_a_websocket_needs_a_key(guarded: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/zephyr/ws/gpu-stats"):
        pass
