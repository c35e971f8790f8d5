import json
import logging
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from starlette.testclient import TestClient

from shim.app import create_app
from shim.observation.logs import JsonFormatter
from shim.settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 503),
        ("GET", "/nothing", 404),
        ("PUT", "/predict", 405),
        ("POST", "/predict", 400),
        ("POST", "/zephyr/python", 400),
    ],
)
def test_every_reply_has_the_request_id(
    shim: TestClient, method: str, path: str, status: int
) -> None:
    given = shim.request(method, path, headers={"x-request-id": "order-66"})
    assert (given.status_code, given.headers["x-request-id"]) == (status, "order-66")
    made = [shim.request(method, path).headers["x-request-id"] for _ in range(2)]
    assert len(set(made)) == 2


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 129, 'a"b', "a;b"])
def test_an_id_that_could_harm_a_log_is_replaced(shim: TestClient, wrong: str) -> None:
    assert (
        shim.get("/health/live", headers={"x-request-id": wrong}).headers["x-request-id"] != wrong
    )


def test_a_request_is_one_line_of_the_log_without_its_prompt(
    shim: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for path in ("/predict", "/zephyr/raw?user_message=confidential"):
        shim.post(path, json={"messages": [{"role": "user", "content": "confidential"}]})
    records = [each for each in caplog.records if each.message == "request"]
    assert len(records) == 2
    line = json.loads(JsonFormatter().format(records[0]))
    assert (line["path"], line["status"]) == ("/predict", 503)
    assert (line["model"], line["refusal"]) == ("stablelm-zephyr-3b", "unavailable")
    ours = [each for each in caplog.records if each.name.startswith("shim")]  # not the client's
    assert "confidential" not in "".join(map(JsonFormatter().format, ours))


def test_prompts_are_logged_where_that_is_wished(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wished = Settings.model_validate(settings.model_dump() | {"log_prompts": True})
    with TestClient(create_app(wished)) as shim:
        shim.post("/zephyr/raw?user_message=confidential")
    assert any("confidential" in JsonFormatter().format(each) for each in caplog.records)


def test_a_line_of_the_log_is_one_json_object() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, 'two\n"lines" %s', ("é",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == 'two\n"lines" é'


def test_metrics_count_by_route_model_and_status(shim: TestClient) -> None:
    shim.post("/v1/models/mistral-7b:predict", json={"prompt": "hi"})
    shim.post("/nothing/at/all")
    text = shim.get("/metrics").text
    assert (
        'aeolus_requests_total{model="mistral-7b",route="/v1/models/{model}:predict",status="503"}'
        " 1.0" in text
    )
    assert 'aeolus_requests_total{model="",route="none",status="404"} 1.0' in text
    assert 'aeolus_refusals_total{reason="unavailable"} 1.0' in text
    assert "_created" not in text


class Collector(services.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return messages.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    collector = Collector()
    services.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None)


def test_spans_of_request_and_generation_are_in_the_callers_trace(
    settings: Settings, collector: tuple[Collector, str]
) -> None:
    received, endpoint = collector
    traced = Settings.model_validate(settings.model_dump() | {"otlp_endpoint": endpoint})
    with TestClient(create_app(traced)) as shim:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "order-66"}
        shim.post("/zephyr/raw?user_message=hi", headers=headers)
    spans = {span.name: span for span in received.spans}
    request, generation = spans["POST /zephyr/raw"], spans["generate"]
    assert request.trace_id.hex() == generation.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert generation.parent_span_id == request.span_id
    attributes = {each.key: each.value for each in request.attributes}
    assert attributes["http.response.status_code"].int_value == 503
    assert attributes["aeolus.request_id"].string_value == "order-66"
