"""The process around the application: it listens, says so, and ends without cutting anybody off."""

import gc
import signal
import socket
import time
from types import FrameType

import uvicorn
from anyio.lowlevel import checkpoint

from shim.app import App
from shim.http.protocol import HttpProtocol

KEEP_ALIVE_SECONDS = 75
MAX_MESSAGE_BYTES = 1 << 20
"""Of a WebSocket client; the chat page sends what its user writes or imports."""
CUT_OFF_SECONDS = 5
"""What the drain has not finished is told that it ends here, and is cut off after so long."""


class ShimServer(uvicorn.Server):
    """Serves one application until SIGTERM or SIGINT; a second signal ends it at once."""

    def __init__(self, app: App):
        self._app = app
        self._drained_at: float | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=app.settings.host,
                port=app.settings.port,
                http=HttpProtocol,
                ws_max_size=MAX_MESSAGE_BYTES,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=CUT_OFF_SECONDS,
                ssl_certfile=app.settings.tls_certificate,
                ssl_keyfile=app.settings.tls_key,
            )
        )

    def listen(self) -> socket.socket:
        """Return the socket to `run` with."""
        listener = self.config.bind_socket()
        # Connections inherit it. The kernel then ends one whose client has stopped reading; nothing
        # above it can, as closing waits until all was sent.
        listener.setsockopt(
            socket.IPPROTO_TCP,
            socket.TCP_USER_TIMEOUT,
            1000 * self._app.settings.stalled_reader_seconds,
        )
        return listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print where."""
        await checkpoint()  # loads what else the first stream would stop all others for
        # What was loaded until now stays: to search it for garbage takes a quarter of a second,
        # in which no stream goes on.
        gc.collect()
        gc.freeze()
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            scheme = "https" if self.config.is_ssl else "http"
            name = f"[{host}]" if ":" in host else host
            print(f"ready: {scheme}://{name}:{port}", flush=True)  # noqa: T201 - scripts wait for it

    def stop(self) -> None:
        """End soon, without waiting for requests; from any thread."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Refuse new requests; end when those that run are done, or their time is over."""
        if self._drained_at is not None:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._app.lifecycle.is_draining = True
        self._drained_at = time.monotonic() + self._app.settings.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """End once drained."""
        if self._drained_at is not None:
            if self._app.lifecycle.running == 0:
                self.should_exit = True
            elif time.monotonic() >= self._drained_at:
                self._app.end_generations()
                self.should_exit = True
        return await super().on_tick(counter)
