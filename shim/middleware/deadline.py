"""How long a request may take: the header `x-request-timeout`, within the configured maximum."""

import asyncio
import math

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shim.errors.family import error_reply
from shim.errors.outcomes import DEADLINE_TEXT
from shim.families.replies import StreamAbortedError
from shim.observation.context import current

REQUEST_TIMEOUT = "x-request-timeout"
GRACE_SECONDS = 1.0


class Deadline:
    """Sets the time by which a request must be answered.

    The generation ends there by itself and its route says so in its own form. What else is under
    way a moment later - a body that does not arrive, a reply that is not taken - is cut off here.
    """

    def __init__(self, app: ASGIApp, max_seconds: float):
        self._app = app
        self._max_seconds = max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse a header that is not a time with 400."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            seconds = self._seconds(Headers(scope=scope).get(REQUEST_TIMEOUT))
        except ValueError as error:
            await error_reply(Request(scope), 400, str(error))(scope, receive, send)
            return
        context = current()
        context.deadline = asyncio.get_running_loop().time() + seconds
        is_started = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            async with asyncio.timeout_at(context.deadline + GRACE_SECONDS):
                await self._app(scope, receive, send_and_note)
        except TimeoutError as error:
            context.refusal = "deadline"
            if is_started:
                raise StreamAbortedError(DEADLINE_TEXT) from error
            await error_reply(Request(scope), 504, DEADLINE_TEXT)(scope, receive, send)

    def _seconds(self, header: str | None) -> float:
        if header is None:
            return self._max_seconds
        try:
            seconds = float(header)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            raise ValueError(f"{REQUEST_TIMEOUT}: must be a number of seconds above 0")
        return min(seconds, self._max_seconds)
