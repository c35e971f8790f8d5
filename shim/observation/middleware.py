"""Seeing each request from its head to the end of its reply: id, log line, metrics, span."""

import logging
import re
import secrets
import time
from collections.abc import Collection

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shim.observation.context import RequestContext, begin
from shim.observation.logs import FIELDS
from shim.observation.metrics import Metrics
from shim.observation.tracing import parent_of

REQUEST_ID = "x-request-id"
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
UNANSWERED = 499  # nginx's word for a client that left before the reply

logger = logging.getLogger(__name__)


class Observation:
    """Gives a request its id and tells log, metrics and trace how it ended."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, tracer: Tracer, quiet_routes: Collection[str]
    ):
        """Take what observes, and the routes whose successes are not logged."""
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._quiet_routes = quiet_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its id back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = RequestContext(_request_id(headers.get(REQUEST_ID)))
        context.span = self._tracer.start_span(scope["method"], parent_of(headers), SpanKind.SERVER)
        begin(context)
        scope.setdefault("state", {})["request_id"] = context.request_id
        status = UNANSWERED
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = context.request_id or ""
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._finish(scope, context, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, context: RequestContext, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", context.route)
        self._metrics.requests.labels(route, context.model, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if context.refusal:
            self._metrics.refusals.labels(context.refusal).inc()
        span = context.span
        span.update_name(f"{scope['method']} {route}")
        span.set_attributes(
            {
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
                "aeolus.request_id": context.request_id or "",
            }
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()
        fields = {
            "method": scope["method"],
            "path": scope["path"],  # without the query, which may hold a prompt
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
        } | _known(context)
        level = logging.DEBUG if route in self._quiet_routes and status < 500 else logging.INFO
        logger.log(level, "request", extra={FIELDS: fields})


def _known(context: RequestContext) -> dict[str, object]:
    first_token = context.first_token_seconds
    known: dict[str, object] = {
        "model": context.model,
        "key": context.key_holder,
        "refusal": context.refusal,
        "prompt_tokens": context.prompt_tokens,
        "completion_tokens": context.completion_tokens,
        "finish_reason": context.finish_reason,
        "first_token_milliseconds": first_token and round(1000 * first_token, 1),
    }
    return {name: value for name, value in known.items() if value}


def _request_id(given: str | None) -> str:
    if given is not None and ACCEPTED_ID.fullmatch(given):
        return given
    return secrets.token_hex(16)
