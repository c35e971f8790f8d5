"""A server that hangs up in the middle of what it says."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class BrokenServer:
    """Reads each request, sends the same bytes and closes the connection."""

    def __init__(self, reply: bytes):
        """Listen on a free port of the loopback."""
        self._reply = reply
        self.requests = 0
        self.last_request = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.last_request = connection.recv(65536)
                self.requests += 1
                with suppress(OSError):  # who asked may have seen enough
                    connection.sendall(self._reply)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
