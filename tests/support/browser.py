"""A real Chromium for the tests of the pages; it reaches nothing but this machine."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    BrowserContext,
    Download,
    Locator,
    Page,
    Route,
    expect,
    sync_playwright,
)

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = Path(__file__).parents[2] / ".run" / "screenshots"
"""What the tests have seen, for people to look at."""
KEY = "a-key-of-the-chat-page-tests"
WAIT_MILLISECONDS = 30_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


class Browser:
    """One Chromium; notes what a page asks of addresses that are not loopback."""

    def __init__(self, context: BrowserContext):
        self._context = context
        self.outside: list[str] = []
        self.errors: list[str] = []
        context.set_default_timeout(WAIT_MILLISECONDS)
        context.route("**/*", self._guard)

    def open(self, url: str, *, width: int = 1280, height: int = 800) -> Page:
        """Open a page in a new tab."""
        page = self._context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        return page

    def _guard(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Run a headless Chromium with a new profile.

    Names are resolved to nothing, so that what the browser itself asks for leaves no trace either.
    """
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=[*FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
            accept_downloads=True,
        )
        try:
            yield Browser(context)
        finally:
            context.close()


class ChatPage:
    """The chat page as a person uses it."""

    def __init__(self, page: Page):
        self.page = page
        self.field.wait_for()

    def use_key(self, key: str) -> None:
        """Give the page the API key that it asks for."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("API key", exact=True).fill(key)
        dialog.get_by_role("button", name="Use").click()
        dialog.wait_for(state="hidden")

    @property
    def field(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_label("Message", exact=True)

    @property
    def send_button(self) -> Locator:
        """There while nothing is being written."""
        return self.page.get_by_role("button", name="Send", exact=True)

    @property
    def stop_button(self) -> Locator:
        """There while a reply is being written."""
        return self.page.get_by_role("button", name="Stop", exact=True)

    @property
    def replies(self) -> Locator:
        """The bodies of the replies."""
        return self.page.locator(".message.assistant .reply-body")

    def say(self, text: str) -> None:
        """Send a message."""
        self.field.fill(text)
        self.field.press("Enter")

    def write(self, text: str) -> None:
        """Write a message without sending it, and wait until the page has taken it."""
        self.field.fill(text)
        self.request()  # answered after what was written has arrived

    def ask(self, text: str) -> str:
        """Send a message; returns the text of its whole reply."""
        count = self.replies.count()
        self.say(text)
        self.wait_for_reply(count + 1)
        return self.replies.last.inner_text()

    def wait_for_reply(self, count: int) -> None:
        """Wait until there are so many replies and none is being written."""
        self.replies.nth(count - 1).wait_for(state="attached")
        self.send_button.wait_for()

    def choose(self, name: str, option: str) -> None:
        """Choose from a list."""
        self.page.get_by_label(name, exact=True).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def choose_model(self, title: str) -> None:
        """Choose a model, and wait until the page is about it."""
        self.choose("Model", title)
        expect(self.page.get_by_label("Model", exact=True)).to_have_text(title)
        expect(self.field).to_have_attribute("placeholder", re.compile(title))

    def set_parameter(self, name: str, value: str) -> None:
        """Write into a field of the parameter panel, and wait until the page has taken it."""
        self.page.get_by_label(name, exact=True).fill(value)
        self.page.locator(".parameter.changed").get_by_text(name, exact=True).wait_for()

    def set_more_parameter(self, name: str, value: str) -> None:
        """Do as `set_parameter`, with one of those that are hidden at first."""
        field = self.page.get_by_label(name, exact=True)
        if not field.is_visible():
            self.page.get_by_text("More parameters").click()
        self.set_parameter(name, value)

    @property
    def facts(self) -> str:
        """What is written below the last reply."""
        return self.page.locator(".message.assistant .facts").last.inner_text()

    @property
    def tokens(self) -> int:
        """What the context meter counts."""
        return int(self.page.get_by_role("meter").get_attribute("aria-valuenow") or 0)

    def request(self) -> dict[str, Any]:
        """Return the body that the page says it sends next."""
        self.page.get_by_role("button", name="Show the request").click()
        dialog = self.page.get_by_role("dialog")
        body: dict[str, Any] = json.loads(dialog.locator(".request-body").inner_text())
        dialog.get_by_role("button", name="Close").click()
        dialog.wait_for(state="hidden")
        return body

    def edit(self, place: int, text: str) -> None:
        """Write something else for a message of the user, and send it."""
        message = self.page.locator(".message.user").nth(place)
        message.hover()
        message.get_by_role("button", name="Edit and send again").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Edited message").fill(text)
        dialog.get_by_role("button", name="Send").click()
        dialog.wait_for(state="hidden")
        self.stop_button.wait_for()

    def download(self, command: str) -> Download:
        """Choose a command of the menu that makes a file."""
        with self.page.expect_download() as download:
            self.command(command)
        return download.value

    def upload(self, command: str, path: Path) -> None:
        """Choose a command of the menu that reads a file."""
        with self.page.expect_file_chooser() as chooser:
            self.command(command)
        chooser.value.set_files(path)

    def command(self, name: str) -> None:
        """Choose a command of the menu."""
        self.page.get_by_role("button", name="More", exact=True).click()
        self.page.get_by_role("menuitem", name=name).click()

    def screenshot(self, name: str) -> None:
        """Keep what the page looks like."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
