"""Putting the chat page into the application."""

from fastapi import FastAPI
from nicegui import app as page_app
from nicegui import ui
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import shim.pages.chat.page  # noqa: F401 - registers the page
from shim.pages.chat.buttons import LOGO_PATH

CHAT_PATH = "/chat"
TAB_SECONDS = 12 * 3600.0
"""A conversation that no page has shown for so long is forgotten."""
RECONNECT_SECONDS = 10.0
"""A browser that is away for longer is taken for closed, and its generation is cancelled."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The browser loads nothing from another address, whatever a reply holds. NiceGUI's own page has
inline scripts, and Vue compiles its templates."""
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
}
ICON = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="{LOGO_PATH}" '
    'fill="none" stroke="#0e7c86" stroke-width="2" stroke-linecap="round"/></svg>'
)


class PageHeaders:
    """Adds `HEADERS` to every reply of the page."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def mount_chat_page(app: FastAPI) -> None:
    """Serve the page at `CHAT_PATH`; once in a process, as NiceGUI has one application in it."""
    page_app.add_middleware(PageHeaders)
    page_app.storage.max_tab_storage_age = TAB_SECONDS
    ui.run_with(
        app,
        mount_path=CHAT_PATH,
        title="Aeolus chat",
        favicon=ICON,
        dark=None,
        language="en-US",
        reconnect_timeout=RECONNECT_SECONDS,
        tailwind=False,
        show_welcome_message=False,
    )
