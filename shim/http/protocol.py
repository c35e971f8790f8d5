"""What a client may do with its connection, where uvicorn itself sets no limit."""

import asyncio
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
MAX_UNREAD_BYTES = 1 << 16
HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?")
"""uri-host [":" port] of RFC 9110, section 7.2; it may be empty."""


class InvalidHeadError(Exception):
    """The head of a request breaks a rule of HTTP; the text says which."""


class HttpProtocol(HttpToolsProtocol):
    """One connection: heads of requests are short, arrive in time, and wait for the last reply.

    A request that comes before the reply to the one before it (pipelining) is not read, and the
    connection is closed after that reply; the client then asks again (RFC 9112, section 9.3.2).
    uvicorn would read no more from then on, and so not notice when the client leaves.
    """

    _is_deaf = False
    _unread_bytes = 0
    """What came since the last piece of a body, or the last end of a head or a body."""
    _head_timer: asyncio.TimerHandle | None = None
    _refusal: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request is expected soon."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; close the connection of a client that sends neither head nor body."""
        if self._is_deaf:
            return
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_UNREAD_BYTES:
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Answer a request, unless the one before it is not answered yet."""
        self._stop_expecting()
        self._unread_bytes = 0
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            self._is_deaf = True
            return
        try:
            _check_host(self.parser.get_http_version(), self.headers)
        except InvalidHeadError as error:
            self._refusal = str(error)
            raise  # to the parser, which reads no further
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP, and close the connection."""
        super().send_400_response(self._refusal or msg)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._unread_bytes = 0
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a body."""
        self._unread_bytes = 0
        if not self._is_deaf:
            super().on_message_complete()

    def _expect_head(self) -> None:
        self._stop_expecting()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_expecting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _check_host(http_version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Check what RFC 9112, section 3.2, has a server refuse.

    Raises:
        InvalidHeadError: HTTP/1.1 without Host, more than one, or one that cannot be a host.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts and http_version == "1.1":
        raise InvalidHeadError("HTTP/1.1 needs a Host header.")
    if len(hosts) > 1:
        raise InvalidHeadError("The request has more than one Host header.")
    if hosts and not HOST.fullmatch(hosts[0].strip()):
        raise InvalidHeadError("The Host header is not a host with an optional port.")
