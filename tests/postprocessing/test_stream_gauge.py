"""The gauge follows the number of streams without a round trip for each change."""

from postprocessing.stream_gauge import StreamGauge


def test_changes_are_told_once_a_second_and_the_end_at_once() -> None:
    told: list[float] = []
    time = 10.0
    gauge = StreamGauge(told.append, lambda: time)
    for count in (0, 1, 2, 3):
        gauge.report(count)
    assert told == [1]
    time += 1
    gauge.report(3)
    gauge.report(3)
    gauge.report(0)
    assert told == [1, 3, 0]
