"""How often each key may call: a token bucket a key."""

import math
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shim.errors.family import error_reply
from shim.observation.context import current


@dataclass(slots=True)
class Bucket:
    """As many requests as may be made at once, filled again at a steady rate."""

    tokens: float
    filled_at: float


class RateLimit:
    """Refuses the requests of a key beyond its rate with 429."""

    def __init__(self, app: ASGIApp, per_minute: int | None, burst: int):
        self._app = app
        self._per_second = None if per_minute is None else per_minute / 60
        self._burst = burst
        self._buckets: dict[str, Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        context = current()
        seconds = self._take(context.key_holder) if context.key_holder else 0.0
        if seconds == 0 or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context.refusal = "rate_limit"
        reply = error_reply(
            Request(scope),
            429,
            f"The rate limit of this API key is reached; try again in {math.ceil(seconds)} s.",
            {"retry-after": str(math.ceil(seconds))},
        )
        await reply(scope, receive, send)

    def _take(self, key_holder: str) -> float:
        """Take one token; returns in how many seconds there is one, if there is none now."""
        if self._per_second is None:
            return 0.0
        now = time.monotonic()
        bucket = self._buckets.setdefault(key_holder, Bucket(self._burst, now))
        bucket.tokens = min(
            self._burst, bucket.tokens + (now - bucket.filled_at) * self._per_second
        )
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_second
        bucket.tokens -= 1
        return 0.0
