"""What a client gets of events that come faster than they can be sent."""

import threading
from typing import Any

from reference_engine.delivery import FINAL, Delivery
from reference_engine.interface import TokenEvent


class SlowSender:
    """Sends nothing before it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.sent: list[tuple[Any, int]] = []

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.go_on.wait()
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        return False


def test_tokens_that_wait_go_out_together_and_the_end_of_a_stream_by_itself() -> None:
    delivery = Delivery(lambda _: None, lambda: None, check_period_seconds=60)
    blocking, sender = SlowSender(), SlowSender()
    sender.go_on.set()
    delivery.send(blocking, TokenEvent([[0]], is_final=True), lambda event: event.output_ids)
    for tokens in ([1], [2], []):
        event = TokenEvent([tokens], is_final=not tokens)
        delivery.send(sender, event, lambda event: event.output_ids)
    blocking.go_on.set()
    delivery.close()
    assert sender.sent == [([[1, 2]], 0), ([[]], FINAL)]
