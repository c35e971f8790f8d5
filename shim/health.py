"""Whether the shim lives, whether its models are loaded, and its version.

Load balancers and monitors ask under the names that they know: KServe's and Triton's (/v2/health),
NIM's (/v1/health), Kubernetes' (/livez, /readyz, and /healthz for a liveness probe), SageMaker's
and the Truss server's (/ping), vLLM's and TGI's (/health: whether the models can be asked).
"""

from importlib.metadata import version as installed_version
from inspect import cleandoc

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from shim.errors.family import ErrorReport, error_reply
from shim.errors.outcomes import ENDING_TEXT
from shim.families.openai.errors import model_not_found
from shim.families.openai.replies import model_object
from shim.families.truss.errors import error_headers
from shim.generation.models import ServedModels

LIVE = ("/health/live", "/healthz", "/livez", "/v1/health/live", "/v2/health/live")
READY = ("/health/ready", "/health", "/ping", "/readyz", "/v1/health/ready", "/v2/health/ready")
VERSION = installed_version("aeolus")

router = APIRouter(tags=["health"])


async def live() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "live"}


async def ready(request: Request) -> Response:
    """Answer 200 while a model is served and this process is not shutting down, else 503.

    Models that no Triton serves are listed; a request to one of them is a 503 of its own.
    """
    models: ServedModels = request.state.models
    if request.state.lifecycle.is_draining:
        return error_reply(request, 503, ENDING_TEXT)
    unavailable = models.unavailable
    if not unavailable:
        return JSONResponse({"status": "ready"})
    if len(unavailable) < len(list(models)):
        return JSONResponse({"status": "ready", "unavailable": unavailable})
    return error_reply(request, 503, "Triton cannot be reached, or has not loaded every model.")


for names, endpoint in ((LIVE, live), (READY, ready)):
    first, *others = names
    also = f"{endpoint.__doc__}\nAlso at {', '.join(others)}."
    router.add_api_route(first, endpoint, description=cleandoc(also))
    for name in others:
        router.add_api_route(name, endpoint, include_in_schema=False)


@router.get("/version")
async def version() -> dict[str, str]:
    """Return the version of Aeolus."""
    return {"version": VERSION}


@router.get("/v1/models/{model}")
async def model_object_or_error(request: Request, model: str) -> Response:
    """Do as `/loaded`; OpenAI's clients find their objects in the body.

    The Truss server has no reply to a model that it does not serve: its check takes any name.
    """
    try:
        return await model_loaded(request, model)
    except HTTPException as error:
        text = str(error.detail)
        return model_not_found(text, error_headers(ErrorReport(error.status_code, text)))


@router.get("/v1/models/{model}/loaded")
async def model_loaded(request: Request, model: str) -> Response:
    """Answer 200 when one model is loaded, else 503, as the Truss server does."""
    models: ServedModels = request.state.models
    served = models.of_request(request, model)
    if served.client.is_ready:
        return JSONResponse(model_object(served.entry))
    return error_reply(request, 503, f"Model with name {model} is not ready.")
