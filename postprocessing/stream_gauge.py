"""The number of running streams as a metric."""

import time
from collections.abc import Callable

PERIOD_SECONDS = 1.0


class StreamGauge:
    """Sets a gauge when the number has changed, at most once a second: each is a round trip.

    Triton's gauges are set only from the thread that serves requests; so where the last change
    comes within the second and nothing follows, it is not told - but for a fall to none.
    """

    def __init__(
        self, set_gauge: Callable[[float], None], now: Callable[[], float] = time.monotonic
    ):
        """Set with `set_gauge`."""
        self._set = set_gauge
        self._now = now
        self._told = 0
        self._told_at = -PERIOD_SECONDS

    def report(self, count: int) -> None:
        """Say how many there are now."""
        if count == self._told:
            return
        now = self._now()
        if count == 0 or now - self._told_at >= PERIOD_SECONDS:
            self._set(count)
            self._told, self._told_at = count, now
