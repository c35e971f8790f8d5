"""The predict routes: by model name, by Host header, by model version."""

from dataclasses import replace

from fastapi import APIRouter, HTTPException, Request, Response

from shim.families.replies import first_chunk, json_reply, stream_form, stream_reply
from shim.families.truss.documentation import predict_operation
from shim.generation.models import ServedModel, ServedModels
from shim.generation.sequences import combine, complete_all, run
from shim.http.body import read_json_object
from shim.http.connection import while_connected
from shim.parameters.conflicts import check_sequences
from shim.parameters.refusals import in_request_names
from shim.parameters.translation import generation_request, sequences_of
from shim.parameters.validation import read_parameters

router = APIRouter(tags=["predict"])


@router.post("/v1/models/{model}:predict", openapi_extra=predict_operation())
async def predict_by_name(request: Request, model: str) -> Response:
    """Generate text with the named model; `model` means the default, or the host's."""
    return await _predict(request, _served(request).of_request(request, model))


@router.get("/v1/models/{model}:predict", include_in_schema=False)
async def refuse_to_get(model: str) -> Response:  # noqa: ARG001 - part of the path
    """Keep a GET from being taken for one of the readiness of a model `...:predict`."""
    raise HTTPException(405, headers={"Allow": "POST"})


@router.post("/model_versions/{model}/predict", openapi_extra=predict_operation())
async def predict_by_version(request: Request, model: str) -> Response:
    """Generate text with the model whose catalog name stands for the version."""
    return await _predict(request, _served(request).named(model))


@router.post("/predict", openapi_extra=predict_operation())
@router.post("/development/predict", openapi_extra=predict_operation())
@router.post("/production/predict", openapi_extra=predict_operation())
@router.post("/environments/{name}/predict", openapi_extra=predict_operation("name"))
@router.post("/deployment/{id}/predict", openapi_extra=predict_operation("id"))
async def predict_by_host(request: Request) -> Response:
    """Generate text with the model of the host's label `model-<name>`, else the default."""
    return await _predict(request, _served(request).of_request(request))


def _served(request: Request) -> ServedModels:
    served: ServedModels = request.state.models
    return served


async def _predict(request: Request, model: ServedModel) -> Response:
    body = await read_json_object(request, request.state.settings.max_body_bytes)
    resolved = read_parameters(body, model.entry)
    check_sequences(resolved)
    parameters = resolved.given
    generation = generation_request(resolved, model.entry)
    await model.check(generation)
    form = stream_form(request)
    if resolved.is_streamed and form != "gathered":
        chunks = run(model.client.stream, generation, parameters.max_time)
        first = await first_chunk(request, chunks, parameters.model_fields_set)
        return stream_reply(form, first, chunks, request.state.request_id)
    if parameters.max_time is None:
        generation = replace(generation, stream=False)
    count = parameters.num_return_sequences or 1
    sequences = sequences_of(generation, count)
    with in_request_names(parameters.model_fields_set):
        completions = await while_connected(
            request, complete_all(model.client.stream, sequences, parameters.max_time, count)
        )
    texts = [completion.text for completion in completions]
    answer = texts if count > 1 else texts[0]
    reply = model.entry.predict.reply
    content = answer if resolved.is_streamed or reply == "string" else {reply: answer}
    return json_reply(content, combine(completions), request.state.request_id)
