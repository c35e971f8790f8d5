"""The page at the root, in a real browser."""

import pytest
from playwright.sync_api import expect

from catalog import load_catalog
from support.browser import SCREENSHOTS, Browser, needs_chromium

pytestmark = [pytest.mark.server, needs_chromium]


def test_the_welcome_page_shows_the_state_of_the_engine_and_leads_to_the_chat(
    service_url: str, browser: Browser
) -> None:
    page = browser.open(service_url)
    expect(page.get_by_role("status")).to_have_text("Engine ready")
    expect(page.locator(".card .state.ready")).to_have_count(len(load_catalog()))
    assert "Authorization: Api-Key" in page.locator(".card code").first.inner_text()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "welcome.png")
    page.get_by_text("Open the chat").click()
    expect(page.get_by_role("dialog").get_by_label("API key")).to_be_visible()
    page.close()
