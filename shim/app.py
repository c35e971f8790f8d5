"""The application: routes, error replies, and the clients they share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from shim import health, openai_routes, predict, welcome, zephyr
from shim.errors import install_error_handlers
from shim.models import ServedModels
from shim.settings import Settings


class State(TypedDict):
    """What every request finds in its `state`."""

    settings: Settings
    models: ServedModels


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application of one deployment; Triton need not run yet."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        models = ServedModels.connect(settings)
        try:
            yield State(settings=settings, models=models)
        finally:
            await models.close()

    app = FastAPI(
        title="Aeolus",
        description="Language models on Triton, behind the predict APIs their users call already.",
        lifespan=lifespan,
    )
    for room in (welcome, predict, zephyr, openai_routes, health):
        app.include_router(room.router)
    install_error_handlers(app)
    return app
