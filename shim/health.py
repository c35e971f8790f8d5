"""Whether the shim lives, and whether its models are loaded."""

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from shim.families.errors import error_reply, truss_headers
from shim.families.openai.errors import model_not_found
from shim.families.openai.replies import model_object
from shim.generation.models import ServedModels

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """Answer 200 while a model is served and this process is not shutting down, else 503.

    Models that no Triton serves are listed; a request to one of them is a 503 of its own.
    """
    models: ServedModels = request.state.models
    if request.state.lifecycle.is_draining:
        return error_reply(request, 503, "This server is about to end.")
    unavailable = models.unavailable
    if not unavailable:
        return JSONResponse({"status": "ready"})
    if len(unavailable) < len(list(models)):
        return JSONResponse({"status": "ready", "unavailable": unavailable})
    return error_reply(request, 503, "Triton cannot be reached, or has not loaded every model.")


@router.get("/v1/models/{model}")
async def model_object_or_error(request: Request, model: str) -> Response:
    """Do as `/loaded`; OpenAI's clients find their objects in the body.

    The Truss server has no reply to a model that it does not serve: its check takes any name.
    """
    try:
        return await model_loaded(request, model)
    except HTTPException as error:
        return model_not_found(str(error.detail), truss_headers(error.status_code))


@router.get("/v1/models/{model}/loaded")
async def model_loaded(request: Request, model: str) -> Response:
    """Answer 200 when one model is loaded, else 503, as the Truss server does."""
    models: ServedModels = request.state.models
    served = models.of_request(request, model)
    if served.client.is_ready:
        return JSONResponse(model_object(served.entry))
    return error_reply(request, 503, f"Model with name {model} is not ready.")
