import re
import shlex
from html import unescape

import pytest
from starlette.testclient import TestClient

from catalog import load_catalog
from shim.health import VERSION

LIVE = ["/health/live", "/healthz", "/livez", "/v1/health/live", "/v2/health/live"]
READY = ["/health/ready", "/health", "/ping", "/readyz", "/v2/health/ready"]
NOT_READY = "Triton cannot be reached, or has not loaded every model."


@pytest.mark.parametrize("path", LIVE)
def test_the_process_lives_without_triton(shim: TestClient, path: str) -> None:
    assert shim.get(path).json() == {"status": "live"}
    assert shim.head(path).status_code == 200


def test_the_version_is_the_installed_one(shim: TestClient) -> None:
    assert shim.get("/version").json() == {"version": VERSION}
    assert shim.get("/openapi.json").json()["info"]["version"] == VERSION


@pytest.mark.parametrize(("documented", "names"), [(LIVE[0], LIVE[1:]), (READY[0], READY[1:])])
def test_the_other_names_of_a_probe_are_in_its_description(
    shim: TestClient, documented: str, names: list[str]
) -> None:
    paths = shim.get("/openapi.json").json()["paths"]
    for name in names:
        assert name not in paths
        assert name in paths[documented]["get"]["description"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *((path, NOT_READY) for path in READY),
        ("/v1/models/mistral-7b", "Model with name mistral-7b is not ready."),
        ("/v1/models/mistral-7b/loaded", "Model with name mistral-7b is not ready."),
        ("/v1/models/model", "Model with name model is not ready."),
    ],
)
def test_nothing_is_ready_without_triton(shim: TestClient, path: str, text: str) -> None:
    reply = shim.get(path)
    assert reply.status_code == 503
    assert reply.json() == {"error": text}
    assert reply.headers["retry-after"] == "1"


def test_a_probe_below_openais_prefix_is_refused_in_its_form(shim: TestClient) -> None:
    reply = shim.get("/v1/health/ready")
    assert reply.status_code == 503
    assert reply.json()["error"]["message"] == NOT_READY


def test_an_unknown_model_is_never_loaded(shim: TestClient) -> None:
    reply = shim.get("/v1/models/gpt-2/loaded")
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("Model 'gpt-2' is not served here")


def test_openais_clients_are_told_of_an_unknown_model_in_their_form(shim: TestClient) -> None:
    reply = shim.get("/v1/models/gpt-2")
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["message"].startswith("Model 'gpt-2' is not served here")
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert reply.headers["x-baseten-error-code"] == "600"


def test_the_welcome_page_lists_models_and_routes(shim: TestClient) -> None:
    reply = shim.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    for name in load_catalog():
        assert f'data-model="{name}"' in reply.text
    assert 'href="chat/"' not in reply.text  # it is off in these tests
    for route in ("POST /predict", "POST /zephyr/python", "GET /health/ready"):
        assert f"<td>{route}</td>" in reply.text


def test_the_commands_of_the_welcome_page_are_requests_that_the_routes_take(
    shim: TestClient,
) -> None:
    commands = re.findall(r"<code>(.*?)</code>", shim.get("/").text, re.DOTALL)
    assert len(commands) == len(load_catalog())
    for command in commands:
        words = shlex.split(unescape(command).replace("\\\n", " "))
        assert words[:4] == ["curl", "-N", "-X", "POST"]
        body = words[words.index("-d") + 1]
        reply = shim.post(words[4], content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 503, reply.text  # right, but there is no Triton


def test_the_api_page_describes_each_route_with_its_body(shim: TestClient) -> None:
    assert shim.get("/docs").status_code == 200
    paths = shim.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if "post" not in operations:
            continue
        content = operations["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"], path
        assert content["examples"], path
        assert "$ref" not in str(content), path
        named = {each["name"] for each in operations["post"].get("parameters", [])}
        assert all(f"{{{name}}}" in path for name in named - {"user_message"}), path
        assert path.count("{") == len(named - {"user_message"}), path
