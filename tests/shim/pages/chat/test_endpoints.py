"""What the page sends is what the routes take."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from catalog import load_catalog
from shim.app import create_app
from shim.pages.chat.endpoints import NOT_ON_THE_PANEL, Endpoint, Question, endpoints_of
from shim.pages.chat.parameter_fields import panel_rows
from shim.parameters.table import generate_map
from shim.settings import Settings

EXAMPLES: dict[str, Any] = {
    "boolean": True,
    "early_stopping": "never",
    "guided_decoding": {"type": "regex", "guide": "[a-z]+"},
    "integer": 3,
    "logit_bias": {"5": -2.5},
    "number": 0.5,
    "response_format": {"type": "json_object"},
    "sequence_bias": [[[5], -2.5]],
    "strings": ["end"],
    "token_ids": [5, 7],
    "token_lists": [[5], [7, 8]],
}
ENDPOINTS = [
    pytest.param(model.name, endpoint, id=f"{model.name} {endpoint.path}")
    for model in load_catalog().values()
    for endpoint in endpoints_of(model).values()
]


@pytest.fixture(scope="module")
def shim() -> TestClient:
    """Without a Triton: what is right is a 503, what is wrong a 4xx."""
    return TestClient(create_app(Settings(triton_addresses=["127.0.0.1:9"])))


@pytest.mark.parametrize(("model", "endpoint"), ENDPOINTS)
def test_each_parameter_of_the_panel_is_taken_by_its_route(
    shim: TestClient, model: str, endpoint: Endpoint
) -> None:
    rows = panel_rows(load_catalog()[model], endpoint)
    turns = [{"role": "user", "content": "What is a zephyr?"}]
    with shim:
        for each in [*rows.common, *rows.others]:
            value = EXAMPLES[each.row.type]
            body = endpoint.body(Question(turns, "Be short.", {each.row.name: value}))
            reply = shim.post(endpoint.path, json=body)
            assert reply.status_code == 503, (each.row.name, reply.text)
        assert (
            shim.post(endpoint.path, json=endpoint.body(Question(turns, "", {}))).status_code == 503
        )


def test_the_panel_shows_the_defaults_of_the_readme_and_every_parameter_that_acts() -> None:
    model = load_catalog()["llama-3-8b-instruct"]
    predict, chat = endpoints_of(model).values()
    rows = panel_rows(model, predict)
    defaults = {each.row.name: each.default for each in rows.common}
    assert defaults["max_tokens"] == 512
    assert defaults["temperature"] == 0.1
    assert defaults["top_k"] == 40
    shown = {each.row.name for each in [*rows.common, *rows.others]}
    acting = {name for name, row in generate_map().items() if row.category in ("native", "derived")}
    assert acting - shown == NOT_ON_THE_PANEL - {"max_tokens"}
    assert chat.parameters <= predict.parameters


def test_a_beam_search_is_not_streamed() -> None:
    model = load_catalog()["llama-3-8b-instruct"]
    turns = [{"role": "user", "content": "Hello"}]
    for endpoint in endpoints_of(model).values():
        assert endpoint.body(Question(turns, "", {}))["stream"] is True
        assert endpoint.body(Question(turns, "", {"num_beams": 2}))["stream"] is False
