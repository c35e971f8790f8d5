"""The chat page on a wide screen and on a phone, light and dark, in a real browser."""

import pytest
from playwright.sync_api import expect

from support.browser import ChatPage, needs_chromium

pytestmark = [pytest.mark.server, needs_chromium]


def test_the_engine_panel_plots_what_the_engine_does(chat: ChatPage) -> None:
    chat.page.get_by_role("button", name="Engine").click()
    expect(chat.page.locator(".engine-state")).to_have_text("ready")
    chat.set_parameter("max_new_tokens", "2000")
    chat.set_more_parameter("min_new_tokens", "2000")
    chat.page.get_by_text("More parameters").click()
    chat.say("What is a zephyr?")
    expect(chat.page.get_by_label("Requests running · waiting")).to_contain_text("1 · 0")
    tokens = chat.page.get_by_label("Tokens per second").locator(".plot-now")
    expect(tokens).not_to_have_text("0")
    expect(chat.page.get_by_label("KV cache in use")).to_contain_text("%")
    expect(chat.page.locator(".machine .plot")).not_to_have_count(1)  # a GPU, or the CPU
    expect(chat.page.locator(".plot canvas").first).to_be_visible()
    chat.screenshot("chat")
    chat.stop_button.click()
    chat.wait_for_reply(1)


def test_the_page_is_usable_on_a_phone_and_in_the_dark(
    chat: ChatPage,
) -> None:
    chat.page.set_viewport_size({"width": 390, "height": 780})
    chat.ask("What is a zephyr?")
    chat.command("Theme")
    expect(chat.page.locator("body.body--dark")).to_be_visible()
    width = chat.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    chat.screenshot("phone")
    chat.page.get_by_role("button", name="Settings").click()
    expect(chat.page.get_by_label("temperature", exact=True)).to_be_visible()
    chat.page.set_viewport_size({"width": 320, "height": 568})
    chat.page.mouse.click(310, 300)  # beside the panel, which closes it
    expect(chat.page.get_by_label("temperature", exact=True)).to_be_hidden()
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 320
    chat.ask("And the mistral?")
