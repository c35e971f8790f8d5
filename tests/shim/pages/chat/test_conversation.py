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
    chat.set_parameter("max_new_tokens", "300")
    chat.set_more_parameter("min_new_tokens", "300")
    chat.say("What is a zephyr?")
    chat.stop_button.wait_for()
    lengths = set()
    while chat.stop_button.is_visible():
        lengths.add(len(chat.replies.last.inner_text()))
    assert len(lengths) > 3
    chat.wait_for_reply(1)
    assert "300 tokens" in chat.facts


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


def test_a_tab_that_is_loaded_again_goes_on_and_a_closed_one_stops_the_engine(
    chat: ChatPage, triton: TritonServer
) -> None:
    first = chat.ask("What is a zephyr?")
    chat.set_parameter("max_new_tokens", "3000")
    chat.set_more_parameter("min_new_tokens", "3000")
    chat.say("And what is the mistral?")
    chat.stop_button.wait_for()
    chat.write("not sent yet")
    chat.page.reload()
    expect(chat.replies).to_have_count(2)
    expect(chat.replies.first).to_have_text(first, use_inner_text=True)
    expect(chat.page.get_by_label("max_new_tokens", exact=True)).to_have_value("3000")
    expect(chat.field).to_have_value("not sent yet")
    expect(chat.stop_button).to_be_visible()
    assert active_requests(triton) == 1
    chat.page.close()
    wait_for_active_requests(triton, 0, seconds=30)


def test_the_conversation_is_remembered_regenerated_and_edited(chat: ChatPage) -> None:
    chat.set_parameter("seed", "7")
    first = chat.ask("What is a zephyr?")
    alone = chat.tokens
    chat.ask("And what is the mistral?")
    assert chat.tokens > alone + 10
    request = chat.request()
    assert [message["role"] for message in request["messages"][:4]] == ["user", "assistant"] * 2
    assert request["messages"][1]["content"].strip() == first.strip()

    chat.page.keyboard.press("Alt+KeyR")
    chat.stop_button.wait_for()
    chat.wait_for_reply(2)

    chat.edit(0, "What is Aeolus?")
    chat.wait_for_reply(1)
    expect(chat.page.locator(".message")).to_have_count(2)
    assert "zephyr" not in chat.page.locator(".message.user").inner_text()

    chat.page.keyboard.press("Alt+KeyN")
    expect(chat.page.locator(".message")).to_have_count(0)
    assert chat.tokens == 0


def test_the_oldest_messages_are_not_sent_when_the_conversation_is_too_long(
    chat: ChatPage,
) -> None:
    words = "wind " * 2500
    chat.set_parameter("max_new_tokens", "8")
    chat.ask(f"First: {words}")
    chat.ask(f"Second: {words}")
    note = chat.page.get_by_text("The first 2 messages no longer fit")
    expect(note).to_be_visible()
    assert "tokens" in chat.facts


def test_the_page_is_used_by_keys(chat: ChatPage) -> None:
    page, keys = chat.page, chat.page.keyboard
    chat.set_parameter("max_new_tokens", "3000")
    chat.set_more_parameter("min_new_tokens", "3000")
    page.locator(".hello-title").click()
    keys.press("/")
    expect(chat.field).to_be_focused()
    keys.type("What is")
    keys.press("Shift+Enter")
    keys.type("a zephyr?")
    keys.press("Control+Enter")
    expect(chat.replies.last).to_contain_text("zephyr")
    assert page.locator(".message.user").inner_text().startswith("What is\na zephyr?")
    keys.press("Escape")
    chat.wait_for_reply(1)
    assert "stopped" in chat.facts
    keys.press("ArrowUp")
    edited = page.get_by_role("dialog").get_by_label("Edited message")
    expect(edited).to_have_value("What is\na zephyr?")
    keys.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def test_code_is_copied_as_it_was_written(chat: ChatPage) -> None:
    chat.choose_model("Zephyr 7B beta")
    chat.choose("Route", "Zephyr: raw")  # which repeats the prompt
    chat.ask("Look:\n\n```python\ndef f():\n    return '<b>'\n```\n")
    chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.page.locator(".copy-code").first.click()
    chat.page.wait_for_function("navigator.clipboard.readText()")
    copied = chat.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "def f():\n    return '<b>'"
