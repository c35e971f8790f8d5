import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from aeolus_client import (
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)
from shim.app import create_app
from shim.errors.outcomes import status_and_text
from shim.settings import Settings

NAMED = "/v1/models/mistral-7b:predict"
PREDICT_ROUTES = [
    NAMED,
    "/v1/models/model:predict",
    "/predict",
    "/development/predict",
    "/production/predict",
    "/environments/staging/predict",
    "/deployment/abc/predict",
    "/model_versions/mistral-7b/predict",
]
ZEPHYR_ROUTES = [
    "/zephyr/raw",
    "/zephyr/python",
    "/zephyr/system-message",
    "/zephyr/code-doc",
    "/zephyr/structured-code-doc",
]
MISTRAL_HOST = {"host": "model-mistral-7b.localhost:8000"}
BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "Invalid JSON payload: the body is empty"),
    (b"{", 400, "Invalid JSON payload: Expecting property name"),
    (b"[]", 400, "Invalid JSON payload: the body must be a JSON object, not an array"),
    (b'{"a": NaN}', 400, "Invalid JSON payload: NaN is not a JSON value"),
    (b'{"a": "\xff"}', 400, "Invalid JSON payload: the body is not UTF-8"),
    (b"x" * 10_001, 413, "The request body is larger than 10000 bytes"),
]


@pytest.mark.parametrize("route", PREDICT_ROUTES)
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        *BAD_BODIES,
        (b"{}", 422, "prompt: required by mistral-7b"),
        (b'{"prompt": "hi", "top_p": 3}', 422, "top_p: Input should be less than or equal to 1"),
    ],
)
def test_predict_routes_refuse_as_truss_does(
    shim: TestClient, route: str, body: bytes, status: int, text: str
) -> None:
    reply = shim.post(route, content=body, headers=MISTRAL_HOST)
    assert reply.status_code == status
    assert reply.json()["error"].startswith(text)
    assert list(reply.json()) == ["error"]
    assert reply.headers["x-baseten-error-source"] == "04"
    assert reply.headers["x-baseten-error-code"] == "700"


@pytest.mark.parametrize(
    ("route", "body", "status", "text"),
    [
        (route, *each)
        for route in ZEPHYR_ROUTES
        for each in BAD_BODIES
        if each[0] or route != "/zephyr/raw"  # which does without a body
    ],
)
def test_zephyr_routes_refuse_as_fastapi_does(
    shim: TestClient, route: str, body: bytes, status: int, text: str
) -> None:
    reply = shim.post(route, content=body)
    assert reply.status_code == status
    assert reply.json()["detail"].startswith(text)
    assert "x-baseten-error-code" not in reply.headers


ROUTES = [NAMED, "/zephyr/python", "/v1/chat/completions", "/v1/completions"]
NO_GZIP = "The request body is not valid gzip"


def text_of(reply: Any) -> str:
    content = reply.json()
    text = content.get("detail") or content["error"]
    return str(text["message"] if isinstance(text, dict) else text)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"{}", {"content-encoding": "br"}, 415, "Content-Encoding br is not supported; send gzip"),
        (b"{}", {"content-encoding": "gzip, gzip"}, 415, "Content-Encoding gzip, gzip is not supp"),
        (b"{}", {"content-encoding": "gzip"}, 400, NO_GZIP),
        (gzip.compress(b"{}", mtime=0)[:-1], {"content-encoding": "gzip"}, 400, NO_GZIP),
        (gzip.compress(b"{}", mtime=0) + b"x", {"content-encoding": "gzip"}, 400, NO_GZIP),
        (
            gzip.compress(bytes(10_000_000), mtime=0),
            {"content-encoding": "gzip"},
            413,
            "The decompressed request body is larger than 10000 bytes",
        ),
        (
            '{"a": 1}'.encode("utf-16"),
            {"content-type": 'application/json; charset="UTF-16"'},
            415,
            "charset UTF-16 is not supported; send JSON in UTF-8",
        ),
        (b"{}", {"content-type": "text/plain;charset=latin-1;x=y"}, 415, "charset latin-1 is not"),
    ],
)
def test_an_encoding_that_is_not_read_is_refused_by_name(
    shim: TestClient, route: str, body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    reply = shim.post(route, content=body, headers=headers)
    assert (reply.status_code, text_of(reply)[: len(text)]) == (status, text)
    is_about_encoding = status == 415 and "content-encoding" in headers
    assert reply.headers.get("accept-encoding") == ("gzip, identity" if is_about_encoding else None)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("encoding", ["gzip", "X-Gzip", "identity", ""])
@pytest.mark.parametrize("charset", ["utf-8", '"UTF8"', "us-ascii"])
def test_a_body_that_can_be_read_is_read(
    shim: TestClient, route: str, encoding: str, charset: str
) -> None:
    body = b'{"temprature": 1}'
    if "gzip" in encoding.lower():
        body = gzip.compress(body[:5]) + gzip.compress(body[5:])
    reply = shim.post(
        route,
        content=body,
        headers={
            "content-encoding": encoding,
            "content-type": f"application/json; charset={charset}",
        },
    )
    assert "temprature" in reply.text


@pytest.mark.parametrize("route", [NAMED, *ZEPHYR_ROUTES])
def test_a_body_of_unknown_length_is_refused_while_it_is_read(shim: TestClient, route: str) -> None:
    reply = shim.post(route, content=(b" " * 1000 for _ in range(11)))
    assert reply.request.headers["transfer-encoding"] == "chunked"
    assert reply.status_code == 413


@pytest.mark.parametrize(
    ("route", "field"),
    [
        ("/zephyr/raw", "user_message"),
        ("/zephyr/python", "user_message"),
        ("/zephyr/system-message", "user_message"),
        ("/zephyr/code-doc", "code"),
        ("/zephyr/structured-code-doc", "user_message"),
    ],
)
def test_zephyr_routes_name_what_is_wrong_in_fastapis_form(
    shim: TestClient, route: str, field: str
) -> None:
    missing = shim.post(route, json={})
    assert missing.status_code == 422
    assert missing.json() == {
        "detail": [
            {"type": "missing", "loc": ["body", field], "msg": "Field required", "input": {}}
        ]
    }
    unknown = shim.post(route, json={field: "hi", "temprature": 1})
    assert unknown.status_code == 422
    assert unknown.json()["detail"] == [
        {
            "type": "extra_forbidden",
            "loc": ["body", "temprature"],
            "msg": "Extra inputs are not permitted",
            "input": 1,
        }
    ]


@pytest.mark.parametrize("route", ZEPHYR_ROUTES[1:])
@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("max_new_tokens", 0, "greater_than_equal"),
        ("max_new_tokens", "many", "int_parsing"),
        ("do_sample", "perhaps", "bool_parsing"),
        ("temperature", -1, "greater_than_equal"),
        ("top_k", 1.5, "int_from_float"),
        ("top_p", 1.5, "less_than_equal"),
    ],
)
def test_zephyr_routes_check_the_ranges(
    shim: TestClient, route: str, name: str, value: object, kind: str
) -> None:
    field = "code" if route == "/zephyr/code-doc" else "user_message"
    reply = shim.post(route, json={field: "hi", name: value})
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert (problem["type"], problem["loc"]) == (kind, ["body", name])


def test_raw_without_a_message(shim: TestClient) -> None:
    reply = shim.post("/zephyr/raw")
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["query", "user_message"]
    assert shim.post("/zephyr/raw?user_message=").status_code == 422


@pytest.mark.parametrize("route", [*PREDICT_ROUTES, *ZEPHYR_ROUTES])
def test_a_get_is_told_to_post(shim: TestClient, route: str) -> None:
    reply = shim.get(route)
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert reply.headers.get("x-baseten-error-code") == (None if "zephyr" in route else "600")
    (text,) = reply.json().values()
    assert text == f"GET is not allowed on {route}; allowed: POST."


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/nothing", "error"),
        ("/v1/models/x/nothing", "error"),
        ("/environments/a/b/predict", "error"),
        ("/zephyr/nothing", "detail"),
    ],
)
def test_an_unknown_path_is_not_found(shim: TestClient, path: str, key: str) -> None:
    reply = shim.post(path, json={})
    assert reply.status_code == 404
    assert reply.json() == {key: f"There is no {path} here; GET / lists the routes."}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/models/gpt-2:predict", {}),
        ("/model_versions/gpt-2/predict", {}),
        ("/predict", {"host": "model-gpt-2.localhost:8000"}),
        ("/v1/models/model:predict", {"host": "model-gpt-2.localhost:8000"}),
    ],
)
def test_an_unknown_model_is_not_found(
    shim: TestClient, path: str, headers: dict[str, str]
) -> None:
    reply = shim.post(path, json={"prompt": "hi"}, headers=headers)
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("Model 'gpt-2' is not served here; served: llama-2-70b")
    assert reply.headers["x-baseten-error-code"] == "600"


def test_an_unexpected_error_has_the_truss_code_for_it(settings: Settings) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("secret")

    app = create_app(settings)
    app.add_api_route("/fail", fail)
    with TestClient(app, raise_server_exceptions=False) as shim:
        reply = shim.get("/fail")
    assert (reply.status_code, reply.json()) == (500, {"error": "Internal Server Error"})
    assert reply.headers["x-baseten-error-code"] == "500"


def test_a_long_name_of_an_unknown_model_is_cut(shim: TestClient) -> None:
    body = {"model": "m" * 5000, "prompt": "hi"}
    message = shim.post("/v1/completions", json=body).json()["error"]["message"]
    assert message.startswith(f"Model '{'m' * 40}...' is not served here")
    assert len(message) < 500


@pytest.mark.parametrize("route", PREDICT_ROUTES)
@pytest.mark.parametrize("body", [{"prompt": "hi"}, {"prompt": "hi", "stream": True}])
@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream"])
def test_without_triton_predict_routes_are_unavailable(
    shim: TestClient, route: str, body: dict[str, Any], accept: str
) -> None:
    reply = shim.post(route, json=body, headers={**MISTRAL_HOST, "accept": accept})
    assert reply.status_code == 503
    assert reply.json() == {
        "error": "The model server cannot be reached or is not ready; try again later."
    }
    assert reply.headers["retry-after"] == "1"
    assert reply.headers["x-baseten-error-code"] == "600"
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("route", ZEPHYR_ROUTES)
def test_without_triton_zephyr_routes_are_unavailable(shim: TestClient, route: str) -> None:
    field = "code" if route == "/zephyr/code-doc" else "user_message"
    reply = shim.post(route, json={field: "hi"})
    assert reply.status_code == 503
    assert reply.json() == {
        "detail": "The model server cannot be reached or is not ready; try again later."
    }
    assert reply.headers["retry-after"] == "1"


@pytest.fixture
def mistral_alone(settings: Settings) -> Iterator[TestClient]:
    alone = settings.model_copy(
        update={"models": {"mistral-7b": "ensemble"}, "default_model": "mistral-7b"}
    )
    with TestClient(create_app(alone)) as client:
        yield client


@pytest.mark.parametrize("route", ZEPHYR_ROUTES)
def test_a_deployment_without_zephyr_has_no_zephyr_routes(
    mistral_alone: TestClient, route: str
) -> None:
    reply = mistral_alone.post(route, json={"user_message": "hi", "code": "hi"})
    assert reply.status_code == 404
    assert reply.json() == {"detail": "None of the models served here has the Zephyr API."}


def test_a_known_model_that_is_not_served_is_not_found(mistral_alone: TestClient) -> None:
    reply = mistral_alone.post("/v1/models/llama-2-70b:predict", json={"prompt": "hi"})
    assert reply.status_code == 404
    assert reply.json() == {"error": "Model 'llama-2-70b' is not served here; served: mistral-7b"}


UNAVAILABLE = "The model server cannot be reached or is not ready; try again later."


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (InvalidRequestError("top_p is 2"), 400, "top_p is 2"),
        (ServerBusyError("queue"), 429, "Too many requests run or wait; try again later."),
        (
            DeadlineExceededError("1 s"),
            504,
            "The request exceeded its deadline and was stopped.",
        ),
        (ModelNotFoundError("secret"), 503, UNAVAILABLE),
        (ServerUnavailableError("secret"), 503, UNAVAILABLE),
        (
            GenerationFailedError("secret"),
            500,
            "Generation failed; the server's log says why, at request id-1.",
        ),
    ],
)
def test_what_a_client_cannot_mend_is_logged_and_not_shown(
    caplog: pytest.LogCaptureFixture, error: ServiceError, status: int, text: str
) -> None:
    assert status_and_text(error, "id-1") == (status, text)
    assert ("secret" in caplog.text) == (str(error) == "secret")
