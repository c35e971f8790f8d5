"""What a model or the service says cannot do anything on the chat page, in a real browser."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.browser import KEY, Browser, ChatPage, needs_chromium

pytestmark = [pytest.mark.server, needs_chromium]

HOSTILE = """<script>document.title = "taken"</script>
<img src=http://192.0.2.1/pixel.png onerror="document.title = 'taken'">

![pixel](http://192.0.2.1/image.png) [press me](javascript:document.title='taken')
[page](http://192.0.2.1/page) <iframe src="http://192.0.2.1/frame"></iframe>

```html
<script>document.title = "taken"</script>
```
"""


def test_a_hostile_reply_is_shown_as_text_and_does_nothing(
    chat: ChatPage, browser: Browser
) -> None:
    # The raw route of the Zephyr API repeats the prompt in its reply.
    chat.choose_model("Zephyr 7B beta")
    chat.choose("Route", "Zephyr: raw")
    shown = chat.ask(HOSTILE)
    assert '<script>document.title = "taken"</script>' in shown
    assert "<img src=http://192.0.2.1/pixel.png" in shown
    assert "pixel (http://192.0.2.1/image.png)" in shown
    assert "(http://192.0.2.1/page)" in shown
    reply = chat.replies.last
    assert reply.locator("script, img, iframe, [onerror], a[href^=javascript]").count() == 0
    chat.page.get_by_text("press me").last.click()
    assert chat.page.title() == "Aeolus chat"
    assert browser.outside == []


def test_a_conversation_is_exported_and_imported_without_its_key(
    chat: ChatPage, service_url: str, browser: Browser, tmp_path: Path
) -> None:
    chat.set_parameter("temperature", "0.4")
    reply = chat.ask("What is a zephyr?")
    path = tmp_path / "conversation.json"
    chat.download("Export as JSON").save_as(path)
    saved = json.loads(path.read_text())
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"]
    assert saved["parameters"] == {"temperature": 0.4}
    assert "key" not in saved
    markdown = chat.download("Export as Markdown").path().read_text()
    assert "## User\n\nWhat is a zephyr?" in markdown
    chat.page.close()

    saved["messages"][1]["content"] = HOSTILE
    path.write_text(json.dumps(saved))
    other = ChatPage(browser.open(f"{service_url}/chat/"))
    other.page.keyboard.press("Escape")
    other.page.get_by_role("dialog").wait_for(state="hidden")
    other.upload("Import JSON …", path)
    expect(other.page.locator(".message")).to_have_count(2)
    expect(other.page.get_by_label("temperature", exact=True)).to_have_value("0.4")
    assert "<iframe" in other.replies.last.inner_text()
    assert other.page.locator(".messages :is(script, img, iframe)").count() == 0
    path.write_text('{"messages": 7}')
    other.upload("Import JSON …", path)
    expect(other.page.get_by_text("Not a conversation of this page")).to_be_visible()
    expect(other.page.locator(".message")).to_have_count(2)
    other.page.close()
    assert reply


def test_errors_are_shown_as_a_person_would_want_them(
    service_url: str, browser: Browser, chat: ChatPage
) -> None:
    chat.set_parameter("max_new_tokens", "4")
    chat.set_more_parameter("eos_token_id", "[999999]")
    chat.say("What is a zephyr?")
    problem = chat.page.get_by_role("alert").filter(has_text="cannot take this request")
    expect(problem).to_contain_text("eos_token_id")
    chat.screenshot("error")
    chat.page.get_by_role("button", name="Reset").click()
    problem.get_by_role("button", name="Try again").click()
    chat.wait_for_reply(1)
    expect(problem).to_have_count(0)
    chat.page.close()

    stranger = ChatPage(browser.open(f"{service_url}/chat/"))
    stranger.use_key("a-key-that-nobody-has")
    stranger.say("What is a zephyr?")
    problem = stranger.page.get_by_role("alert").filter(has_text="API key")
    expect(problem).to_be_visible()
    problem.get_by_role("button", name="Enter a key").click()
    expect(stranger.page.get_by_role("dialog")).to_be_visible()
    stranger.page.close()


def test_the_key_is_kept_by_the_session_and_not_by_the_browser(
    chat: ChatPage, service_url: str, browser: Browser
) -> None:
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert KEY not in chat.page.evaluate(kept)
    assert chat.page.context.cookies() == []
    assert KEY not in chat.page.content()
    chat.page.reload()
    expect(chat.field).to_be_visible()
    assert chat.ask("What is a zephyr?")
    other = browser.open(f"{service_url}/chat/")
    expect(other.get_by_role("dialog").get_by_label("API key")).to_be_visible()
    other.close()
