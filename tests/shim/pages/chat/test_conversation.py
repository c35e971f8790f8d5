"""Talking with a model on the chat page, in a real browser."""

import time

import pytest
from playwright.sync_api import expect

from launcher.server import TritonServer
from support.browser import ChatPage, needs_chromium
from support.metrics import active_requests, wait_for_active_requests

pytestmark = [pytest.mark.server, needs_chromium]

STOP_SECONDS = 0.25


def test_the_text_of_a_reply_grows_before_its_end(chat: ChatPage) -> None:
    chat.set_parameter("max_new_tokens", "600")
    chat.set_more_parameter("min_new_tokens", "600")
    chat.say("What is a zephyr?")
    chat.stop_button.wait_for()
    lengths = set()
    while chat.stop_button.is_visible():
        lengths.add(len(chat.replies.last.inner_text()))
    assert len(lengths) > 5
    chat.wait_for_reply(1)
    assert "600 tokens" in chat.facts


def test_stop_cancels_at_the_engine_and_keeps_the_text(
    chat: ChatPage, triton: TritonServer
) -> None:
    chat.set_parameter("max_new_tokens", "3000")
    chat.set_more_parameter("min_new_tokens", "3000")
    chat.say("What is a zephyr?")
    expect(chat.replies.last).to_contain_text("zephyr")
    wait_for_active_requests(triton, 1)
    chat.stop_button.click()
    stopped = time.monotonic()
    while active_requests(triton):
        assert time.monotonic() < stopped + STOP_SECONDS, "the engine goes on"
    chat.wait_for_reply(1)
    assert "stopped" in chat.facts
    assert "zephyr" in chat.replies.last.inner_text()
