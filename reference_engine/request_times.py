"""When a request arrived, ran and got its tokens."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestTimes:
    """Nanoseconds of the monotonic clock, 0 for what is yet to come."""

    arrival: int = field(default_factory=time.monotonic_ns)
    first_scheduled: int = 0
    first_token: int = 0
    last_token: int = 0

    def mark_scheduled(self) -> None:
        """The request runs from now on."""
        self.first_scheduled = time.monotonic_ns()

    def mark_token(self) -> None:
        """A token has been chosen."""
        self.last_token = time.monotonic_ns()
        self.first_token = self.first_token or self.last_token
