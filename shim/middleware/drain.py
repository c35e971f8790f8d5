"""Ending without cutting anybody off: what runs may finish, nothing new begins."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shim.errors.family import error_reply
from shim.errors.outcomes import ENDING_TEXT
from shim.observation.context import current


class Lifecycle:
    """How many requests are being served, and whether the process is shutting down."""

    def __init__(self) -> None:
        self.running = 0
        self.is_draining = False


class Drain:
    """Counts what is being served; refuses with 503 what comes while the process ends."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle):
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._lifecycle.is_draining:
            current().refusal = "draining"
            reply = error_reply(Request(scope), 503, ENDING_TEXT, {"connection": "close"})
            await reply(scope, receive, send)
            return
        self._lifecycle.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._lifecycle.running -= 1
