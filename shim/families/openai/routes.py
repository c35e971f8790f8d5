"""The routes of OpenAI's API: chat completions, completions, responses, models."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from catalog import ModelEntry
from shim.families.openai.bodies import AnyBody, ChatBody, CompletionBody, OpenAIBody, read_body
from shim.families.openai.documentation import openai_body
from shim.families.openai.errors import invalid_parameters, model_not_found
from shim.families.openai.plans import Plan, plan_chat, plan_completion
from shim.families.openai.replies import (
    ChatReply,
    ChoicesReply,
    CompletionReply,
    Reply,
    model_object,
)
from shim.families.openai.response_bodies import ResponseBody, plan_response
from shim.families.openai.response_replies import ResponseReply
from shim.families.replies import EVENT_STREAM_TYPE, ClosingStream, first_chunk
from shim.generation.models import ServedModels
from shim.generation.sequences import complete_all, merge, run
from shim.http.body import read_json_object
from shim.http.connection import while_connected
from shim.parameters.problems import InvalidParametersError
from shim.parameters.refusals import in_request_names

MODEL = "zephyr-7b-beta"
QUESTION = {"role": "user", "content": "What is a zephyr?"}
CHAT_EXAMPLES = {
    "chat": {"model": MODEL, "messages": [QUESTION], "max_completion_tokens": 64},
    "stream": {
        "model": MODEL,
        "messages": [QUESTION],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
}
COMPLETION_EXAMPLES = {
    "text": {"model": "mistral-7b", "prompt": "A zephyr is", "max_tokens": 32},
    "texts": {"model": "mistral-7b", "prompt": ["A zephyr is", "The mistral is"], "n": 2},
}
RESPONSE_EXAMPLES = {
    "text": {"model": MODEL, "input": "What is a zephyr?", "max_output_tokens": 64},
    "conversation": {
        "model": MODEL,
        "instructions": "Answer in one sentence.",
        "input": [
            QUESTION,
            {"role": "assistant", "content": "A gentle wind."},
            {"role": "user", "content": "From where does it blow?"},
        ],
        "stream": True,
    },
}
MakeReply = Callable[[AnyBody, Plan, str], Reply]

router = APIRouter(prefix="/v1", tags=["openai"])


@router.get("/models")
async def models(request: Request) -> Response:
    """List the served models."""
    served: ServedModels = request.state.models
    return JSONResponse({"object": "list", "data": [model_object(model.entry) for model in served]})


@router.post("/chat/completions", openapi_extra=openai_body(ChatBody, CHAT_EXAMPLES))
async def chat_completions(request: Request) -> Response:
    """Continue a conversation."""
    return await _answer(request, ChatBody, plan_chat, _choices(ChatReply))


@router.post("/completions", openapi_extra=openai_body(CompletionBody, COMPLETION_EXAMPLES))
async def completions(request: Request) -> Response:
    """Continue one text or several as they stand."""
    return await _answer(request, CompletionBody, plan_completion, _choices(CompletionReply))


@router.post("/responses", openapi_extra=openai_body(ResponseBody, RESPONSE_EXAMPLES))
async def responses(request: Request) -> Response:
    """Answer a text, or a conversation that is sent whole; nothing is stored."""
    return await _answer(request, ResponseBody, plan_response, ResponseReply)


def _choices(form: type[ChoicesReply]) -> MakeReply[OpenAIBody]:
    return lambda body, _, request_id: form(body.model, request_id)


async def _answer(
    request: Request,
    form: type[AnyBody],
    make_plan: Callable[[AnyBody, dict[str, Any], ModelEntry], Plan],
    make_reply: MakeReply[AnyBody],
) -> Response:
    content = await read_json_object(request, request.state.settings.max_body_bytes)
    served: ServedModels = request.state.models
    try:
        body, others = read_body(content, form)
        model = served.named(body.model)
        plan = make_plan(body, others, model.entry)
        await model.check(plan.requests[0])
    except InvalidParametersError as error:
        return invalid_parameters(error)
    except HTTPException as error:
        return model_not_found(str(error.detail))
    reply = make_reply(body, plan, request.state.request_id)
    if not body.stream:
        with in_request_names(content):
            replies = await while_connected(
                request, complete_all(model.client.stream, plan.requests, plan.max_time, plan.n)
            )
        return JSONResponse(
            reply.content(replies, plan), headers={"x-request-id": request.state.request_id}
        )
    chunks = merge([run(model.client.stream, each, plan.max_time) for each in plan.requests])
    first = await first_chunk(request, chunks, content.keys())
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    events = reply.events(first, chunks, plan, include_usage)
    headers = {"x-request-id": request.state.request_id}
    return ClosingStream(events, chunks, EVENT_STREAM_TYPE, headers)
