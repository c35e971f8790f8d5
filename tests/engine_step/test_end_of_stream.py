"""An error that ends a stream is preceded by an event that the text stages see."""

from engine_step.end_of_stream import with_end_of_stream
from engine_step.interface import PerfMetrics, TokenEvent

METRICS = PerfMetrics(5, 0, 0, 0, 0, 0, 0)
FAILED = TokenEvent([], is_final=True, error=RuntimeError("out of memory"))


def heard(*events: TokenEvent) -> list[TokenEvent]:
    received: list[TokenEvent] = []
    listen = with_end_of_stream(received.append)
    for event in events:
        listen(event)
    return received


def test_an_error_in_the_midst_of_a_stream_is_two_events() -> None:
    begun = TokenEvent([[1]], is_final=False, perf_metrics=METRICS)
    end = TokenEvent([[]], is_final=False, perf_metrics=METRICS, finish_reasons=["error"])
    assert heard(begun, FAILED) == [begun, end, FAILED]


def test_an_error_before_the_first_token_is_itself() -> None:
    assert heard(FAILED) == [FAILED]


def test_what_does_not_fail_passes() -> None:
    last = TokenEvent([[2]], is_final=True, perf_metrics=METRICS, finish_reasons=["stop"])
    assert heard(last) == [last]
