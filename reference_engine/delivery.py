"""Responses on their way to Triton, from one thread that is not the engine's.

Sending one is a round trip between processes; an engine step must not wait for it. The same
thread asks now and then whether Triton has cancelled a request, which is a round trip as well.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class ResponseSender(Protocol):
    """What `InferenceRequest.get_response_sender()` returns in the Python backend."""

    def send(self, response: Any = None, flags: int = 0) -> None:
        """Send one response."""

    def is_cancelled(self) -> bool:
        """Whether the client has left."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    sender: ResponseSender
    response: Any
    flags: int


class Delivery:
    """Sends in the order given; stops asking after a request once its final response is sent."""

    def __init__(
        self,
        cancel: Callable[[str], None],
        on_check: Callable[[], None],
        check_period_seconds: float,
    ):
        """Start the thread.

        Args:
            cancel: called with the id of a request that Triton has cancelled.
            on_check: called once a period, also when nothing is under way.
            check_period_seconds: how often to look for cancelled requests.
        """
        self._cancel = cancel
        self._on_check = on_check
        self._period = check_period_seconds
        self._outgoing: queue.SimpleQueue[_Outgoing | None] = queue.SimpleQueue()
        self._live: dict[ResponseSender, str] = {}
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def track(self, request_id: str, sender: ResponseSender) -> None:
        """Watch a request for cancellation from now until its final response."""
        self._live[sender] = request_id

    def send(self, sender: ResponseSender, response: Any, flags: int) -> None:
        """Queue a `pb_utils.InferenceResponse`; `flags` other than 0 mean that it is the last."""
        self._outgoing.put(_Outgoing(sender, response, flags))

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._outgoing.put(None)
        self._thread.join()

    def _run(self) -> None:
        next_check = time.monotonic() + self._period
        while True:
            try:
                outgoing = self._outgoing.get(timeout=max(0.0, next_check - time.monotonic()))
                if outgoing is None:
                    return
                self._send(outgoing)
            except queue.Empty:
                pass
            if time.monotonic() >= next_check:
                self._check()
                next_check = time.monotonic() + self._period

    def _send(self, outgoing: _Outgoing) -> None:
        if outgoing.flags:
            self._live.pop(outgoing.sender, None)
        outgoing.sender.send(outgoing.response, flags=outgoing.flags)

    def _check(self) -> None:
        for sender, request_id in list(self._live.items()):
            if sender.is_cancelled():
                self._cancel(request_id)
        self._on_check()
