"""Models, routes and parameters on the chat page, in a real browser."""

import pytest
from playwright.sync_api import expect

from catalog import load_catalog
from support.browser import ChatPage, needs_chromium

pytestmark = [pytest.mark.server, needs_chromium]


def test_changed_parameters_are_in_the_request_and_wrong_ones_are_not(chat: ChatPage) -> None:
    assert chat.request().keys() == {"messages", "stream"}
    chat.set_parameter("max_new_tokens", "7")
    chat.set_parameter("stop", '["\\n\\n", "zzz"]')
    chat.page.get_by_label("top_p", exact=True).fill("1.5")
    expect(chat.page.get_by_text("Input should be less than or equal to 1")).to_be_visible()
    chat.page.get_by_label("System message", exact=True).fill("Be short.")
    request = chat.request()
    assert request["max_new_tokens"] == 7
    assert request["stop"] == ["\n\n", "zzz"]
    assert "top_p" not in request
    assert request["messages"][0] == {"role": "system", "content": "Be short."}
    chat.ask("What is a zephyr?")
    assert "7 tokens" in chat.facts
    assert "cut at the limit" in chat.facts
    chat.page.get_by_role("button", name="Reset").click()
    expect(chat.page.get_by_label("max_new_tokens", exact=True)).to_have_value("4096")


def test_every_model_answers_on_each_of_its_routes(chat: ChatPage) -> None:
    for model in load_catalog().values():
        chat.choose_model(model.title)
        assert chat.request().keys() == {model.predict.input, "stream"}
    chat.choose_model("Zephyr 7B beta")
    chat.set_parameter("max_new_tokens", "12")
    routes = ["Predict", "OpenAI chat", "Zephyr: Python", "Zephyr: system message", "Zephyr: raw"]
    for number, route in enumerate(routes, 1):
        chat.choose("Route", route)
        expect(chat.page.locator(".q-drawer--left .path")).to_contain_text("POST /")
        assert chat.ask("What is a zephyr?")
        assert chat.replies.count() == number
    assert "<|user|>" in chat.replies.last.inner_text()


def test_code_is_written_in_an_editor_and_documented(chat: ChatPage) -> None:
    chat.choose_model("Zephyr 7B beta")
    for route in ("Zephyr: code documentation", "Zephyr: structured code documentation"):
        chat.choose("Route", route)
        editor = chat.page.locator(".code-field .cm-content")
        expect(editor).to_be_visible()
        editor.fill("def add(a, b): return a + b")
        chat.send_button.click()
        chat.page.locator(".message.assistant .facts").last.wait_for()
        chat.wait_for_reply(1)
    chat.wait_for_reply(2)
    assert chat.page.locator(".message.user .code-block").count() == 2
    assert chat.replies.last.inner_text().strip()
    chat.screenshot("code-doc")
