"""A Triton by HTTP: its protocol's generate extension.

triton-inference-server/server, docs/protocol/extension_generate.md and src/http_server.cc. A
response is one JSON object with the tensors by name, flattened; a tensor of one element is the
element. Whether a response is the last is not said: the body ends behind it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import httpx

from aeolus_client.errors import (
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerUnavailableError,
    ServiceError,
)
from aeolus_client.generation import GenerationRequest, PromptLogProbs, TopTokens
from aeolus_client.http.connection import CONNECT_SECONDS, HttpConnection
from aeolus_client.http.events import read_events
from aeolus_client.triton.status import error_from_text
from aeolus_client.triton.tensors import (
    Beam,
    EnsembleResponse,
    InputTensor,
    input_tensors,
    request_parameters,
    stop_tensors,
    token_texts,
)
from aeolus_client.triton.transport import READY_TIMEOUT_SECONDS

EVENT_PREFIX = "data: "
LARGEST_FP32 = 3.4028234663852886e38
BY_STATUS: dict[int, type[ServiceError]] = {
    400: InvalidRequestError,
    404: ModelNotFoundError,
    502: ServerUnavailableError,
    503: ServerUnavailableError,
    504: ServerUnavailableError,
}


class HttpTransport:
    """See `Transport`."""

    def __init__(self, address: str, connect_timeout: float = CONNECT_SECONDS):
        """Connect on first use to `http://host:port` of Triton's HTTP service."""
        self._connection = HttpConnection(
            address, error_from_response, connect_timeout=connect_timeout
        )

    async def generate(
        self, model: str, request: GenerationRequest, headers: Mapping[str, str] | None
    ) -> AsyncGenerator[EnsembleResponse | ServiceError, None]:
        """See `Transport`."""
        body = {
            **request_parameters(request),
            # `max_tokens` is both, and a name of the body is the tensor where there is one.
            **_values(input_tensors(request)),
            "id": request.request_id,
        }
        last = EnsembleResponse("", "", 0, 0, is_final=False)
        async with (
            self._connection.open("POST", _path(model, "generate_stream"), body, headers) as reply,
            aclosing(read_events(self._connection.pieces(reply))) as events,
        ):
            async for event in events:
                content = json.loads(event.data)
                if "error" in content:
                    yield error_from_text(str(content["error"]))
                else:
                    last = read_response(content, request)
                    yield last
        if not last.is_final:  # an engine that does not say why it ended
            yield EnsembleResponse("", last.pending_text, 0, last.prompt_tokens, is_final=True)

    async def stop(self, engine_model: str, request_id: str) -> None:
        """See `Transport`."""
        body = {**_values(stop_tensors()), "id": request_id}
        path = _path(engine_model, "generate_stream")
        reply = await self._connection.request("POST", path, body)
        if reply.text:
            raise error_from_response(reply, reply.text)

    async def config(self, model: str) -> Mapping[str, Any]:
        """See `Transport`."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                reply = await self._connection.request("GET", _path(model, "config"))
        except TimeoutError as error:
            raise ServerUnavailableError(
                f"{self._connection.address} did not answer in {READY_TIMEOUT_SECONDS:g} s"
            ) from error
        try:
            config = reply.json()
        except ValueError:
            config = None
        if not isinstance(config, dict):
            raise InvalidRequestError(
                f"{reply.url} is not Triton's HTTP service: it answers with no JSON object"
            )
        return config

    async def is_ready(self, model: str) -> bool:
        """See `Transport`."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await self._connection.request("GET", _path(model, "ready"))
        except (ServiceError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """See `Transport`."""
        await self._connection.close()


def error_from_response(response: httpx.Response, body: str) -> ServiceError:
    """Return the error of a reply that Triton ends before its first response."""
    try:
        text = json.loads(body.removeprefix(EVENT_PREFIX))["error"]
    except (ValueError, KeyError, TypeError):
        return InvalidRequestError(
            f"{response.url} is not Triton's HTTP service: it answers with status"
            f" {response.status_code}"
        )
    error = error_from_text(str(text))
    if type(error) is GenerationFailedError:
        return BY_STATUS.get(response.status_code, GenerationFailedError)(str(error))
    return error


def read_response(content: Mapping[str, Any], request: GenerationRequest) -> EnsembleResponse:
    """Read one response; what shape its tensors had follows from their number of elements."""
    lengths = _list(content["sequence_length"])
    texts = _list(content["text_output"])
    reasons = _list(content.get("finish_reason", ["" for _ in lengths]))
    tokens = lengths[0]
    log_probs = _first_row(content.get("output_log_probs", []), len(lengths))
    return EnsembleResponse(
        text=texts[0],
        pending_text=_list(content.get("text_pending", ""))[0],
        tokens=tokens,
        prompt_tokens=content["num_input_tokens"],
        is_final=bool(reasons[0]),
        stop_reason=_list(content.get("stop_reason", ""))[0] or None,
        finish_reason=reasons[0] or None,
        output_ids=_first_row(content.get("output_ids", []), len(lengths))[:tokens],
        log_probs=log_probs,
        token_texts=token_texts(texts[0], tokens) if log_probs else [],
        top=_top(content, "output", request.top_logprobs),
        prompt=_prompt(content, request.prompt_logprobs) if "prompt_texts" in content else None,
        other_beams=[
            Beam(text, length, reason or None)
            for text, length, reason in zip(texts[1:], lengths[1:], reasons[1:], strict=True)
        ],
    )


def _path(model: str, action: str) -> str:
    return f"/v2/models/{quote(model, safe='')}/{action}"


def _values(tensors: list[InputTensor]) -> dict[str, list[Any]]:
    """Return tensors as JSON holds them, which has no infinite numbers: the largest instead."""
    return {each.name: [_json(value) for value in each.values[0].tolist()] for each in tensors}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return max(-LARGEST_FP32, min(LARGEST_FP32, value)) if isinstance(value, float) else value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _first_row(value: Any, rows: int) -> list[Any]:
    """Return the first of so many equal rows."""
    flat = _list(value)
    return flat[: len(flat) // rows]


def _top(content: Mapping[str, Any], place: str, count: int | None) -> list[TopTokens]:
    """Return the likeliest tokens, `count` for each position."""
    if not count or f"{place}_top_texts" not in content:
        return []
    pairs = list(
        zip(
            _list(content[f"{place}_top_texts"]),
            _list(content[f"{place}_top_log_probs"]),
            strict=True,
        )
    )
    return [pairs[begin : begin + count] for begin in range(0, len(pairs), count)]


def _prompt(content: Mapping[str, Any], count: int | None) -> PromptLogProbs:
    _, *log_probs = _list(content["prompt_log_probs"])
    _, *top = _top(content, "prompt", count) or [[]]
    return PromptLogProbs(
        texts=_list(content["prompt_texts"]),
        log_probs=[None, *log_probs],
        top=[[], *top] if top else [],
    )
