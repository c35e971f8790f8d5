"""The routes of the zephyr-7b-beta API, with the names, defaults and replies of its README."""

from typing import Annotated, TypeVar

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from aeolus_client import Completion
from catalog import GenerationDefaults, ZephyrApp
from shim.families.documentation import json_body
from shim.families.replies import json_reply
from shim.families.zephyr.bodies import (
    SAMPLING,
    CodeDocQuery,
    QueryModel,
    RawQuery,
    ZephyrQuery,
)
from shim.generation.models import ServedModel
from shim.http.body import read_json_object
from shim.http.connection import while_connected
from shim.parameters.parameters import Parameters, Text
from shim.parameters.resolved import ResolvedParameters
from shim.parameters.translation import generation_request

PYTHON_NAMES = ("python", "python3", "py")
WITHOUT_COMMENTS = " Do not include comments."
MESSAGE_EXAMPLES = {"message": {"user_message": "What is a zephyr?", "max_new_tokens": 256}}
CODE_EXAMPLES = {"code": {"code": "def add(a, b): return a + b", "include_comments": True}}

AnyQuery = TypeVar("AnyQuery", bound=ZephyrQuery)

router = APIRouter(prefix="/zephyr", tags=["zephyr"])


@router.post("/raw", openapi_extra=json_body(RawQuery, MESSAGE_EXAMPLES, required=False))
async def raw(request: Request, user_message: Annotated[Text | None, Query()] = None) -> Response:
    """Return prompt and answer with the chat template's tokens still in place."""
    model, app = _zephyr(request)
    if user_message is None:
        query = await _read_raw(request)
    else:
        query = RawQuery(user_message=user_message)
    parameters = _parameters(app.system_message, query.user_message, app.query, query)
    parameters.return_full_text = True
    parameters.skip_special_tokens = False
    completion = await _complete(request, model, parameters)
    return json_reply({"response": completion.text}, completion, request.state.request_id)


@router.post("/python", openapi_extra=json_body(QueryModel, MESSAGE_EXAMPLES))
async def python(request: Request) -> Response:
    """Answer as a Python developer, whatever system message the query has."""
    model, app = _zephyr(request)
    query = await _read(request, QueryModel)
    parameters = _parameters(app.system_message, query.user_message, app.query, query)
    return await _answer(request, model, parameters)


@router.post("/system-message", openapi_extra=json_body(QueryModel, MESSAGE_EXAMPLES))
async def system_message(request: Request) -> Response:
    """Answer under the query's own system message."""
    model, app = _zephyr(request)
    query = await _read(request, QueryModel)
    system = app.system_message if query.system_message is None else query.system_message
    parameters = _parameters(system, query.user_message, app.query, query)
    return await _answer(request, model, parameters)


@router.post("/code-doc", openapi_extra=json_body(CodeDocQuery, CODE_EXAMPLES))
async def code_doc(request: Request) -> Response:
    """Document code in markdown; Python code is formatted by black before."""
    model, app = _zephyr(request)
    query = await _read(request, CodeDocQuery)
    language = app.language if query.language is None else query.language
    system = app.code_doc_system_message.format(language=language)
    comments = app.include_comments if query.include_comments is None else query.include_comments
    if not comments:
        system += WITHOUT_COMMENTS
    is_python = language.strip().lower() in PYTHON_NAMES
    code = query.code
    if is_python:
        code = await while_connected(request, request.state.formatter.format(code))
    parameters = _parameters(system, code, app.code_doc, query)
    return await _answer(request, model, parameters)


@router.post("/structured-code-doc", openapi_extra=json_body(QueryModel, MESSAGE_EXAMPLES))
async def structured_code_doc(request: Request) -> Response:
    """Document the code in the user's message under fixed headings."""
    model, app = _zephyr(request)
    query = await _read(request, QueryModel)
    # The query's system message, which front ends always send, would undo the headings.
    system = app.structured_code_doc_system_message
    parameters = _parameters(system, query.user_message, app.query, query)
    return await _answer(request, model, parameters)


def _zephyr(request: Request) -> tuple[ServedModel, ZephyrApp]:
    for model in request.state.models:
        if model.entry.zephyr is not None:
            return model, model.entry.zephyr
    raise HTTPException(404, "None of the models served here has the Zephyr API.")


async def _read(request: Request, query: type[AnyQuery]) -> AnyQuery:
    body = await read_json_object(request, request.state.settings.max_body_bytes)
    try:
        return query.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        for problem in problems:
            problem["loc"] = ("body", *problem["loc"])
        raise RequestValidationError(problems) from error


async def _read_raw(request: Request) -> RawQuery:
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        raise RequestValidationError(
            [
                {
                    "type": "missing",
                    "loc": ("query", "user_message"),
                    "msg": "Field required",
                    "input": None,
                }
            ]
        )
    return await _read(request, RawQuery)


def _parameters(
    system_message: str,
    user_message: str,
    defaults: GenerationDefaults,
    query: ZephyrQuery,
) -> Parameters:
    """Return what a predict request with the same meaning would say."""
    given = query.model_dump(include=SAMPLING, exclude_none=True)
    return Parameters(
        user_message=user_message,
        system_message=system_message,
        stream=False,
        return_full_text=False,
        skip_special_tokens=True,
        **(defaults.model_dump() | given),
    )


async def _answer(request: Request, model: ServedModel, parameters: Parameters) -> Response:
    completion = await _complete(request, model, parameters)
    return json_reply({"response": completion.text.strip()}, completion, request.state.request_id)


async def _complete(request: Request, model: ServedModel, parameters: Parameters) -> Completion:
    resolved = ResolvedParameters.of(parameters, model.entry.predict)
    generation = generation_request(resolved, model.entry)
    await model.check(generation)
    return await while_connected(request, model.client.complete(generation))
