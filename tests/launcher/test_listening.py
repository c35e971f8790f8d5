"""Where the service listens, how, and what Triton refuses to its clients."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from launcher.ports import free_ports
from launcher.server import TritonServer
from scripts.bench.service import serve_command
from shim.pages.chat.service import Address, Service

pytestmark = pytest.mark.server

QUESTION = {"messages": [{"role": "user", "content": "What is a zephyr?"}], "stream": False}
DEMO = Path(__file__).parents[2] / "demo" / "checkpoint"
TIMEOUT = 60


@contextmanager
def service(directory: Path, *more: str, **settings: str) -> Iterator[str]:
    """Serve until the end of the context; yields the URL of the ready line."""
    environment = {f"AEOLUS_{name.upper()}": value for name, value in settings.items()}
    with subprocess.Popen(
        serve_command(free_ports().http, free_ports(), *more),
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin"} | environment,
    ) as process:
        assert process.stdout is not None
        try:
            yield next(
                line.removeprefix("ready: ").strip()
                for line in process.stdout
                if line.startswith("ready: ")
            )
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def test_it_serves_on_the_ipv6_loopback(tmp_path: Path) -> None:
    with service(tmp_path, "--host", "::1") as url:
        assert url.startswith("http://[::1]:")
        assert httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200


@pytest.mark.extended
def test_all_addresses_of_both_families_are_one_host(tmp_path: Path) -> None:
    with service(tmp_path, "--host", "::", allow_anonymous="true") as url:
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            reply = httpx.get(f"http://{host}:{port}/health/live", timeout=TIMEOUT)
            assert reply.status_code == 200


def test_it_serves_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with service(tmp_path, tls_certificate=str(certificate), tls_key=str(key)) as url:
        assert url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate))
        reply = httpx.post(f"{url}/predict", json=QUESTION, verify=trusting, timeout=TIMEOUT)
        assert reply.status_code == 200
        chat_page = Service(Address(url, str(certificate)))
        assert asyncio.run(chat_page.get("/health/live")).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{url}/health/live", timeout=TIMEOUT)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{url.replace('https', 'http')}/health/live", timeout=TIMEOUT)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_several_models_are_served_by_one_triton_under_their_names(tmp_path: Path) -> None:
    models = ["llama-3-8b-instruct", "llama-2-70b"]
    options = [part for name in models for part in ("--model", name, "--checkpoint", str(DEMO))]
    with service(tmp_path, *options) as url:
        listed = httpx.get(f"{url}/v1/models", timeout=TIMEOUT).json()
        assert [each["id"] for each in listed["data"]] == models
        for name, body in zip(
            models, [QUESTION, {"prompt": "A zephyr", "max_new_tokens": 8}], strict=True
        ):
            headers = {"host": f"model-{name}.example.org"}
            reply = httpx.post(f"{url}/predict", json=body, headers=headers, timeout=TIMEOUT)
            assert reply.status_code == 200, reply.text
        log = next(tmp_path.glob(".run/*/triton.log")).read_text()
        for name in models:
            for step in ("_preprocessing", "_tensorrt_llm", "_postprocessing", ""):
                assert f"successfully loaded '{name}{step}'" in log


def test_triton_by_itself_listens_where_it_is_told_and_has_no_api(tmp_path: Path) -> None:
    ports, shim_port = free_ports(), free_ports().http
    with subprocess.Popen(
        [*serve_command(shim_port, ports), "--triton-only", "--triton-host", "0.0.0.0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("ready: "))
        assert ready == f"ready: Triton's gRPC at 127.0.0.1:{ports.grpc}\n"
        try:
            # All of 127.0.0.0/8 is this machine.
            assert httpx.get(f"http://127.0.0.2:{ports.http}/v2/health/ready").status_code == 200
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://127.0.0.1:{shim_port}/health/live")
        finally:
            process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_calls_that_change_triton_are_refused_to_its_clients(triton: TritonServer) -> None:
    closed = {
        "v2/repository/index": {},
        "v2/repository/models/ensemble/unload": {},
        "v2/systemsharedmemory/region/x/register": {"key": "/x", "offset": 0, "byte_size": 8},
        "v2/trace/setting": {"trace_level": ["TIMESTAMPS"]},
        "v2/logging": {"log_file": "/tmp/x"},
    }
    for path, body in closed.items():
        reply = httpx.post(f"{triton.http_url}/{path}", content=json.dumps(body), timeout=TIMEOUT)
        assert reply.status_code == 403, path
    assert httpx.get(f"{triton.http_url}/v2/models/ensemble/config").status_code == 200
    assert httpx.get(f"{triton.http_url}/v2/models/ensemble/stats").status_code == 200
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        assert client.is_server_ready()
        for call in (
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException, match="expecting header"):
                call()
        with pytest.raises(InferenceServerException, match="expecting header"):
            client.unload_model("ensemble")
