"""Whether the shim lives, and whether its models are loaded."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from shim.errors import error_reply
from shim.models import ServedModels
from shim.openai.replies import model_object

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """Answer 200 while a Triton serves every model and no end of this process is near, else 503."""
    models: ServedModels = request.state.models
    if request.state.lifecycle.is_draining:
        return error_reply(request, 503, "This server is about to end.")
    if models.replicas.are_ready:
        return JSONResponse({"status": "ready"})
    return error_reply(request, 503, "Triton can not be reached, or has not loaded every model.")


@router.get("/v1/models/{model}")
@router.get("/v1/models/{model}/loaded")
async def model_ready(request: Request, model: str) -> Response:
    """Answer 200 when one model is loaded, else 503, as the Truss server does.

    OpenAI's clients find their model object in the body.
    """
    models: ServedModels = request.state.models
    served = models.of_request(request, model)
    if served.client.is_ready:
        return JSONResponse(model_object(served.entry.name))
    return error_reply(request, 503, f"Model with name {model} is not ready.")
