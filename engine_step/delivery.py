"""Responses on their way to Triton, from one thread that is not the engine's.

Sending one is a round trip between processes, and costs more than computing a token of a small
model; so they go out in rounds, and what waits of one request goes out as one response. Only a
first token and an end do not wait. Rounds are shorter where few streams run: the machine has time
for their responses. The same thread asks now and then whether Triton has cancelled a request, which
is a round trip as well.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from engine_step.interface import TokenEvent

logger = logging.getLogger(__name__)

FINAL = 1
"""TRITONSERVER_RESPONSE_COMPLETE_FINAL."""


class ResponseSender(Protocol):
    """What `InferenceRequest.get_response_sender()` returns in the Python backend."""

    def send(self, response: Any = None, flags: int = 0) -> None:
        """Send one response."""

    def is_cancelled(self) -> bool:
        """Whether the client has left."""


ROUND_SECONDS_A_STREAM = 0.002
"""Rounds grow with the streams up to their full length: until then 500 responses a second go out,
however many streams there are; a response costs all processes together some 400 microseconds."""

PAUSE_FACTOR = 2
"""Between two rounds there is at least so many times what sending the first took: with hundreds of
streams responses become fewer and longer, instead of taking all of the machine."""
LONGEST_PAUSE = 0.1
"""More than that in seconds would be seen."""

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
        round_seconds: float,
        round_seconds_a_stream: float = ROUND_SECONDS_A_STREAM,
    ):
        """Start the thread.

        Args:
            cancel: called with the id of a request that Triton has cancelled.
            on_check: called once a period, also when nothing is under way.
            check_period_seconds: how often to look for cancelled requests.
            round_seconds: the time between two rounds, first tokens and ends aside.
            round_seconds_a_stream: what each running stream adds to it, up to `round_seconds`.
        """
        self._cancel = cancel
        self._on_check = on_check
        self._check_period = check_period_seconds
        self._round_seconds = round_seconds
        self._round_seconds_a_stream = round_seconds_a_stream
        self._changed = threading.Condition()
        self._outgoing: list[_Outgoing] = []
        self._newest: dict[ResponseSender, _Outgoing] = {}
        self._is_urgent = self._is_closed = False
        self._live: dict[ResponseSender, str] = {}
        self._begun: set[ResponseSender] = set()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def track(self, request_id: str, sender: ResponseSender) -> None:
        """Watch a request for cancellation from now until its final response."""
        self._live[sender] = request_id

    def send(self, sender: ResponseSender, event: TokenEvent, to_response: ToResponse) -> None:
        """Queue an event; it joins the one of its request that waits, if it can."""
        with self._changed:
            is_first = not self._outgoing
            waiting = self._newest.get(sender)
            if waiting and (joined := waiting.event.followed_by(event)):
                waiting.event = joined
            else:
                self._newest[sender] = _Outgoing(sender, event, to_response)
                self._outgoing.append(self._newest[sender])
            if event.is_final or sender not in self._begun:
                self._is_urgent = True
            if is_first or self._is_urgent:  # otherwise the thread waits for its round anyway
                self._changed.notify()

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        next_round = 0.0
        next_check = time.monotonic() + self._check_period
        while not self._is_closed or self._outgoing:
            if outgoing := self._wait_for_round(next_round, next_check):
                begun = time.monotonic()
                for each in outgoing:
                    self._send(each)
                sent = time.monotonic()
                next_round = sent + self._seconds_to_next_round(sent - begun)
            if time.monotonic() >= next_check:
                self._check()
                next_check = time.monotonic() + self._check_period

    def _seconds_to_next_round(self, sending_seconds: float) -> float:
        """Return the length of a round; one that took long to send is followed by a longer one."""
        few = len(self._begun) * self._round_seconds_a_stream
        pause = min(LONGEST_PAUSE, PAUSE_FACTOR * sending_seconds)
        return max(min(self._round_seconds, few), pause)

    def _wait_for_round(self, next_round: float, next_check: float) -> list[_Outgoing]:
        """Return what is to be sent, nothing if it is time to check before there is something."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._outgoing or self._is_closed, next_check - time.monotonic()
            )
            if self._outgoing:
                self._changed.wait_for(
                    lambda: self._is_urgent or self._is_closed, next_round - time.monotonic()
                )
            outgoing, self._outgoing = self._outgoing, []
            self._newest.clear()
            self._is_urgent = False
            self._begun.update(each.sender for each in outgoing if not each.event.is_final)
            return outgoing

    def _send(self, outgoing: _Outgoing) -> None:
        sender, event = outgoing.sender, outgoing.event
        request_id = self._live.get(sender, "")
        if event.is_final:
            self._live.pop(sender, None)
            self._begun.discard(sender)
        try:
            sender.send(outgoing.to_response(event), flags=FINAL if event.is_final else 0)
        except Exception:  # this request's, not the thread's
            logger.exception("a response of request %r cannot be sent", request_id)
            self._cancel(request_id)

    def _check(self) -> None:
        for sender, request_id in list(self._live.items()):
            if sender.is_cancelled():
                self._cancel(request_id)
        self._on_check()
