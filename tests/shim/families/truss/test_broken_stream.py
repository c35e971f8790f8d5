"""Triton dies in mid-reply: no client takes what it got for the whole."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.asking import LONG
from support.serving import serve_shim, wait_until_ready

pytestmark = pytest.mark.server

START_SECONDS = 300


def kill(server: TritonServer) -> None:
    """End the server as a crash does; `stop` would let it finish its replies first."""
    os.kill(server.pid, signal.SIGKILL)


def first_of(reply: httpx.Response) -> tuple[str, Iterator[str]]:
    received = reply.iter_text()
    return next(received), received


def test_a_stream_that_breaks_looks_broken(tmp_path: Path) -> None:
    with (
        TritonServer(COMMITTED.path, tmp_path, free_ports()) as server,
        serve_shim(server.grpc_address) as shim_url,
    ):
        server.wait_until_ready(START_SECONDS)
        wait_until_ready(shim_url)
        with (
            httpx.stream("POST", f"{shim_url}/predict", json=LONG, timeout=60) as raw,
            httpx.stream(
                "POST",
                f"{shim_url}/predict",
                json=LONG,
                headers={"accept": "text/event-stream"},
                timeout=60,
            ) as events,
        ):
            _, rest_of_text = first_of(raw)
            _, rest_of_events = first_of(events)
            kill(server)
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                list(rest_of_text)
            last = "".join(rest_of_events).removesuffix("\n\n").split("\n\n")[-1]
        kind, data = last.split("\n")
        assert kind == "event: error"
        assert list(json.loads(data.removeprefix("data: "))) == ["error", "status"]
        assert httpx.post(f"{shim_url}/predict", json=LONG, timeout=60).status_code == 503
