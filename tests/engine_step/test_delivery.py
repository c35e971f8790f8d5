"""What a client gets of events that come faster than they are sent."""

import threading
from typing import Any

from engine_step.delivery import FINAL, Delivery
from engine_step.interface import TokenEvent


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
    delivery = Delivery(lambda _: None, lambda: None, check_period_seconds=60, round_seconds=0)
    blocking, sender = SlowSender(), SlowSender()
    sender.go_on.set()
    delivery.send(blocking, TokenEvent([[0]], is_final=True), lambda event: event.output_ids)
    for tokens in ([1], [2], []):
        event = TokenEvent([tokens], is_final=not tokens)
        delivery.send(sender, event, lambda event: event.output_ids)
    blocking.go_on.set()
    delivery.close()
    assert sender.sent == [([[1, 2]], 0), ([[]], FINAL)]


def test_a_first_token_and_an_end_do_not_wait_for_the_next_round_what_is_between_does() -> None:
    delivery = Delivery(
        lambda _: None,
        lambda: None,
        check_period_seconds=60,
        round_seconds=3600,
        round_seconds_a_stream=3600,
    )
    sender, first_is_sent = SlowSender(), threading.Event()
    sender.go_on.set()

    def to_response(event: TokenEvent) -> list[list[int]]:
        first_is_sent.set()
        return event.output_ids

    delivery.send(sender, TokenEvent([[1]], is_final=False), to_response)
    assert first_is_sent.wait(30)
    for token in (2, 3, 4):
        delivery.send(sender, TokenEvent([[token]], is_final=token == 4), to_response)
    delivery.close()
    assert sender.sent == [([[1]], 0), ([[2, 3, 4]], FINAL)]


def test_the_tokens_of_a_lone_stream_do_not_wait_for_a_full_round() -> None:
    delivery = Delivery(lambda _: None, lambda: None, check_period_seconds=60, round_seconds=3600)
    sender = SlowSender()
    sender.go_on.set()
    for token in (1, 2, 3):
        is_sent = threading.Event()

        def to_response(event: TokenEvent, is_sent: threading.Event = is_sent) -> list[list[int]]:
            is_sent.set()
            return event.output_ids

        delivery.send(sender, TokenEvent([[token]], is_final=False), to_response)
        assert is_sent.wait(30)
    delivery.close()
    assert sender.sent == [([[token]], 0) for token in (1, 2, 3)]
