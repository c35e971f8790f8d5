"""The application: the API families, the middleware before them, and the clients they share."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from aeolus_client import ServerEndingError
from shim import health
from shim.errors.handlers import install_error_handlers
from shim.families.openai.family import OPENAI
from shim.families.truss.family import TRUSS
from shim.families.zephyr import gpu_stats
from shim.families.zephyr.code_formatter import Formatter
from shim.families.zephyr.family import ZEPHYR
from shim.generation.models import ServedModels
from shim.middleware.api_keys import ApiKeys, Authentication
from shim.middleware.deadline import Deadline
from shim.middleware.drain import Drain, Lifecycle
from shim.middleware.head import Head
from shim.middleware.rate_limit import RateLimit
from shim.observation import exposition
from shim.observation.metrics import Metrics
from shim.observation.middleware import Observation
from shim.observation.tracing import Tracing
from shim.pages import welcome
from shim.pages.api import mount_api_page
from shim.settings import Settings

logger = logging.getLogger(__name__)

FAMILIES = (ZEPHYR, OPENAI, TRUSS)
"""In the order in which they are asked whether a path is theirs."""
READABLE_HEADERS = [
    "retry-after",
    "x-finish-reason",
    "x-request-id",
    "x-usage-completion-tokens",
    "x-usage-prompt-tokens",
]
QUIET_ROUTES = (*health.LIVE, *health.READY, "/metrics", "/v1/models/{model}", "none")
"""What monitors ask every few seconds; "none" is a path that does not exist."""


class State(TypedDict):
    """What every request finds in its `state`."""

    settings: Settings
    models: ServedModels
    formatter: Formatter
    metrics: Metrics
    lifecycle: Lifecycle


class App(FastAPI):
    """The ASGI application of one deployment; Triton need not run yet."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.lifecycle = Lifecycle()
        self._models: ServedModels | None = None
        self._metrics = Metrics()
        self._tracing = Tracing(settings.otlp_endpoint)
        super().__init__(
            title="Aeolus",
            version=health.VERSION,
            description="Language models on Triton, behind the predict APIs their users call "
            "already.",
            docs_url=None,
            redoc_url=None,
            lifespan=App._lifespan,
        )
        mount_api_page(self)
        for room in (welcome, gpu_stats, exposition):
            self.include_router(room.router)
        for family in FAMILIES:
            self.include_router(family.router, responses=family.error_responses())
        self.include_router(health.router, responses=TRUSS.error_responses(404, 503))
        self.state.families = FAMILIES
        install_error_handlers(self)
        self._install_middleware()
        if settings.chat_page:
            _mount_chat_page(self)

    def _install_middleware(self) -> None:
        """Put it before the routes; a request passes the last one first."""
        settings = self.settings
        self.add_middleware(Head)
        self.add_middleware(Deadline, max_seconds=settings.max_request_seconds)
        self.add_middleware(
            RateLimit, per_minute=settings.rate_limit_per_minute, burst=settings.rate_limit_burst
        )
        self.add_middleware(Authentication, keys=ApiKeys(settings.all_api_keys()))
        self.add_middleware(Drain, lifecycle=self.lifecycle)
        if settings.cors_origins:
            self.add_middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=READABLE_HEADERS,
            )

    def end_generations(self) -> None:
        """End every generation that still runs, each in an error of its route's form."""
        if self._models is not None:
            self._models.end_streams(ServerEndingError("the time to finish is over"))

    def build_middleware_stack(self) -> ASGIApp:
        """Observe all of it, the replies to unexpected errors included."""
        return Observation(
            super().build_middleware_stack(), self._metrics, self._tracing.tracer, QUIET_ROUTES
        )

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[State]:
        models = ServedModels(self.settings, self._metrics, self._tracing.tracer)
        self._models = models
        await models.check()
        checks = asyncio.create_task(
            models.check_for_ever(self.settings.health_check_seconds),
            name="check the health of every Triton",
        )
        try:
            yield State(
                settings=self.settings,
                models=models,
                formatter=Formatter(),
                metrics=self._metrics,
                lifecycle=self.lifecycle,
            )
        finally:
            checks.cancel()
            await asyncio.gather(checks, return_exceptions=True)
            await models.close()
            await asyncio.to_thread(self._tracing.close)


def _mount_chat_page(app: App) -> None:
    """Serve the chat page, if what it is made with is installed."""
    try:
        from shim.pages.chat.mount import mount_chat_page
    except ModuleNotFoundError as error:
        logger.warning(
            "no chat page: %s is not installed; install aeolus[chat] or set chat_page to false",
            error.name,
        )
    else:
        mount_chat_page(app)


def create_app(settings: Settings) -> App:
    """Return the ASGI application of one deployment."""
    return App(settings)
