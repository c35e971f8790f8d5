"""One Chromium and one shim with the chat page, for all its tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from launcher.server import TritonServer
from support.browser import KEY, Browser, ChatPage, chromium
from support.serving import DEFAULT_MODEL, wait_until_ready


def is_failure(line: str) -> bool:
    """NiceGUI asks a new page for its drawer, and reports a browser that takes a second."""
    return "Traceback" in line and "JavaScript did not respond" not in line


@pytest.fixture(scope="session")
def service_url(triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A shim in a process of its own, because NiceGUI serves one application in each."""
    environment = os.environ | {
        "AEOLUS_API_KEYS": json.dumps({"tests": KEY}),
        "AEOLUS_CHAT_PAGE": "true",
        "AEOLUS_DEFAULT_MODEL": DEFAULT_MODEL,
        "AEOLUS_DRAIN_SECONDS": "0",
        "AEOLUS_PORT": "0",
        "AEOLUS_TRITON_ADDRESSES": triton.grpc_address,
        "AEOLUS_TRITON_METRICS_ADDRESSES": urlsplit(triton.metrics_url).netloc,
    }
    log_path = tmp_path_factory.mktemp("chat") / "shim.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "shim"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ready = next((line for line in process.stdout if line.startswith("ready:")), None)
            assert ready is not None, log_path.read_text()
            url = ready.split()[1]
            wait_until_ready(url)
            yield url
        finally:
            process.terminate()
    assert "Traceback" not in log_path.read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Check at the end that no page asked for anything outside, or failed in the browser.

    Of a module: Playwright has an event loop of its own, beside which other tests can run none.
    """
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
    assert browser.outside == []
    assert browser.errors == []


@pytest.fixture
def chat(service_url: str, browser: Browser) -> Iterator[ChatPage]:
    """A new tab that has the key."""
    page = browser.open(f"{service_url}/chat/")
    chat = ChatPage(page)
    chat.use_key(KEY)
    yield chat
    page.close()
