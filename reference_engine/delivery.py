"""Responses on their way to Triton, from one thread that is not the engine's.

Sending one is a round trip between processes; an engine step must not wait for it. Where the engine
is faster, what waits of one request goes out as one response, so that the delay stays small. The
same thread asks now and then whether Triton has cancelled a request, which is a round trip as well.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from reference_engine.interface import TokenEvent

logger = logging.getLogger(__name__)

FINAL = 1
"""TRITONSERVER_RESPONSE_COMPLETE_FINAL."""


class ResponseSender(Protocol):
    """What `InferenceRequest.get_response_sender()` returns in the Python backend."""

    def send(self, response: Any = None, flags: int = 0) -> None:
        """Send one response."""

    def is_cancelled(self) -> bool:
        """Whether the client has left."""


ToResponse = Callable[[TokenEvent], Any]
"""Makes the `pb_utils.InferenceResponse` of an event, or nothing where the flag is all."""


@dataclass(slots=True)
class _Outgoing:
    sender: ResponseSender
    event: TokenEvent
    to_response: ToResponse


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
        self._newest: dict[ResponseSender, _Outgoing] = {}
        self._newest_lock = threading.Lock()
        self._live: dict[ResponseSender, str] = {}
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def track(self, request_id: str, sender: ResponseSender) -> None:
        """Watch a request for cancellation from now until its final response."""
        self._live[sender] = request_id

    def send(self, sender: ResponseSender, event: TokenEvent, to_response: ToResponse) -> None:
        """Queue an event; it joins the one of its request that waits, if it can."""
        with self._newest_lock:
            waiting = self._newest.get(sender)
            if waiting and (joined := waiting.event.followed_by(event)):
                waiting.event = joined
                return
            outgoing = self._newest[sender] = _Outgoing(sender, event, to_response)
        self._outgoing.put(outgoing)

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
        sender = outgoing.sender
        with self._newest_lock:
            if self._newest[sender] is outgoing:
                del self._newest[sender]
            event = outgoing.event
        request_id = self._live.pop(sender, "") if event.is_final else self._live.get(sender, "")
        try:
            sender.send(outgoing.to_response(event), flags=FINAL if event.is_final else 0)
        except Exception:  # this request's, not the thread's
            logger.exception("a response of request %r can not be sent", request_id)
            self._cancel(request_id)

    def _check(self) -> None:
        for sender, request_id in list(self._live.items()):
            if sender.is_cancelled():
                self._cancel(request_id)
        self._on_check()
