"""The spans of Triton itself are in the trace of whoever asked the shim."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher import server
from launcher.command import triton_command
from launcher.ports import free_ports
from support.serving import serve_shim, wait_until_ready

pytestmark = pytest.mark.server

TRACE = "0af7651916cd43dd8448eb211c80319c"
EXPORT_SECONDS = 60
STEPS = {"ensemble", "preprocessing", "tensorrt_llm", "postprocessing"}


@contextmanager
def collector(spans: list[Any]) -> Iterator[str]:
    """Take OTLP as JSON over HTTP, as Triton sends it; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.extend(scope["spans"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}/v1/traces"
        listener.shutdown()


def test_a_traceparent_reaches_every_step_of_triton(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[Any] = []
    with collector(spans) as url:
        traced = [
            "--trace-config=mode=opentelemetry",
            "--trace-config=level=TIMESTAMPS",
            f"--trace-config=opentelemetry,url={url}",
        ]
        monkeypatch.setattr(
            server,
            "triton_command",
            lambda *arguments, **options: triton_command(*arguments, **options) + traced,
        )
        with (
            server.TritonServer(COMMITTED.path, tmp_path, free_ports()) as triton,
            serve_shim(triton.grpc_address) as shim_url,
        ):
            triton.wait_until_ready(300)
            wait_until_ready(shim_url)
            reply = httpx.post(
                f"{shim_url}/zephyr/raw?user_message=hi",
                headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
                timeout=60,
            )
            assert reply.status_code == 200
            deadline = time.monotonic() + EXPORT_SECONDS
            while not traced_steps(spans) >= STEPS:
                assert time.monotonic() < deadline, traced_steps(spans)
                time.sleep(0.1)


def traced_steps(spans: list[Any]) -> set[str]:
    """Return the names of the spans in our trace; they come in several batches."""
    return {span["name"] for span in spans if span["traceId"] == TRACE}
