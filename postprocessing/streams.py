"""The texts of running streams: found by key, bounded in number, forgotten when idle."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from postprocessing.sequence_text import SequenceText

StreamKey = tuple[str, int, int]
"""Request id, arrival time, and place in a request of several prompts: of every response."""


@dataclass(slots=True)
class _Stream:
    text: SequenceText
    last_used: float


class Streams:
    """State of streams whose end may never be seen, so that it must not only grow."""

    def __init__(
        self,
        max_streams: int = 4096,
        idle_seconds: float = 600.0,
        now: Callable[[], float] = time.monotonic,
    ):
        """Keep at most `max_streams`, each until it was not used for `idle_seconds`."""
        self._max_streams = max_streams
        self._idle_seconds = idle_seconds
        self._now = now
        self._streams: OrderedDict[StreamKey, _Stream] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, key: StreamKey, make: Callable[[], SequenceText]) -> SequenceText:
        """Return the stream's text, a new one for a new stream."""
        now = self._now()
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(make(), now)
        stream.last_used = now
        self._streams.move_to_end(key)
        self._forget_idle(now)
        return stream.text

    def end(self, key: StreamKey) -> None:
        """Forget a stream that is over."""
        self._streams.pop(key, None)

    def _forget_idle(self, now: float) -> None:
        while self._streams:
            oldest = next(iter(self._streams))
            is_idle = now - self._streams[oldest].last_used > self._idle_seconds
            if len(self._streams) <= self._max_streams and not is_idle:
                return
            del self._streams[oldest]
