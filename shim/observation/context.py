"""What is known of the request that is being served, wherever in its tasks one asks."""

from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry.trace import INVALID_SPAN, Span


@dataclass(slots=True)
class RequestContext:
    """One request of a client; what is not known yet, or never will be, has its default."""

    request_id: str | None = None
    route: str = "none"
    model: str = ""
    key_holder: str = ""
    deadline: float | None = None
    """When it must be answered, on the event loop's clock."""
    refusal: str = ""
    """Why it was not run, in the word of the metric of refusals."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""
    first_token_seconds: float | None = None
    span: Span = INVALID_SPAN


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def current() -> RequestContext:
    """Return the request at hand; outside of one, one that nobody sees."""
    return _current.get() or RequestContext()


def begin(context: RequestContext) -> None:
    """Make a request the one at hand in this task and those that it starts."""
    _current.set(context)
