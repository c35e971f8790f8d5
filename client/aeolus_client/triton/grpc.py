"""A Triton by gRPC: one stream for each request."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import grpc
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from aeolus_client.errors import ServiceError
from aeolus_client.generation import GenerationRequest, PromptLogProbs, TopTokens
from aeolus_client.triton.status import error_from_status, error_from_text
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

INT32_BYTES = 4
MAX_MESSAGE_BYTES = 2**31 - 1
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # gRPC's own pause grows to two minutes while a server is down, and outlasts its return.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class GrpcTransport:
    """See `Transport`."""

    def __init__(self, address: str):
        """Connect on first use to `host:port` of Triton's gRPC service."""
        self._triton = triton.InferenceServerClient(address, channel_args=CHANNEL_OPTIONS)

    async def generate(
        self, model: str, request: GenerationRequest, headers: Mapping[str, str] | None
    ) -> AsyncGenerator[EnsembleResponse | ServiceError, None]:
        """See `Transport`; `headers` are the call's metadata."""
        call = self._call(
            model,
            input_tensors(request),
            request.request_id,
            request_parameters(request),
            headers,
        )
        try:
            async for result, error in call:
                yield read_response(result) if error is None else error_from_text(error.message())
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error.code(), error.details()) from error
        finally:
            call.cancel()

    async def stop(self, engine_model: str, request_id: str) -> None:
        """See `Transport`."""
        try:
            async for _, error in self._call(engine_model, stop_tensors(), request_id):
                if error is not None:
                    raise error_from_text(error.message())
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error.code(), error.details()) from error

    async def config(self, model: str) -> Mapping[str, Any]:
        """See `Transport`."""
        try:
            reply = await self._triton.get_model_config(
                model, as_json=True, client_timeout=READY_TIMEOUT_SECONDS
            )
        except InferenceServerException as error:
            code = grpc.StatusCode[error.status().removeprefix("StatusCode.")]
            raise error_from_status(code, error.message()) from error
        config: Mapping[str, Any] = reply["config"]
        return config

    async def is_ready(self, model: str) -> bool:
        """See `Transport`."""
        try:
            return bool(
                await self._triton.is_model_ready(model, client_timeout=READY_TIMEOUT_SECONDS)
            )
        except InferenceServerException:
            return False

    async def close(self) -> None:
        """See `Transport`."""
        await self._triton.close()

    def _call(
        self,
        model: str,
        tensors: list[InputTensor],
        request_id: str,
        parameters: dict[str, str | bool | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return tritonclient's iterator of pairs of a result and an error, which has no type."""
        inputs = infer_inputs(tensors)

        async def one_request() -> AsyncGenerator[dict[str, Any], None]:
            yield {
                "model_name": model,
                "inputs": inputs,
                "request_id": request_id,
                "parameters": parameters,
            }

        return self._triton.stream_infer(
            one_request(), headers=None if headers is None else dict(headers)
        )


def infer_inputs(tensors: list[InputTensor]) -> list[triton.InferInput]:
    """Return tensors as tritonclient's."""
    inputs = []
    for each in tensors:
        inputs.append(triton.InferInput(each.name, list(each.values.shape), each.dtype))
        inputs[-1].set_data_from_numpy(each.values)
    return inputs


def read_response(result: triton.InferResult) -> EnsembleResponse:
    """Read one response; an empty final one has no tensors.

    The server sends each tensor as raw bytes: reading those is several times cheaper than NumPy
    arrays of one element, and this is done for every token.
    """
    response = result.get_response()
    is_final = response.parameters["triton_final_response"].bool_param
    if not response.outputs:
        return EnsembleResponse("", "", 0, 0, is_final)
    raw = dict(
        zip((each.name for each in response.outputs), response.raw_output_contents, strict=True)
    )
    tokens = _first_integer(raw["sequence_length"])
    text = _first_text(raw["text_output"])
    log_probs = _best(result, "output_log_probs") if "output_log_probs" in raw else []
    return EnsembleResponse(
        text=text,
        pending_text=_first_text(raw["text_pending"]) if "text_pending" in raw else "",
        tokens=tokens,
        prompt_tokens=_first_integer(raw["num_input_tokens"]),
        is_final=is_final,
        stop_reason=_first_text(raw["stop_reason"]) or None if "stop_reason" in raw else None,
        finish_reason=_first_text(raw["finish_reason"]) if "finish_reason" in raw else None,
        output_ids=_best(result, "output_ids")[:tokens] if "output_ids" in raw else [],
        log_probs=log_probs,
        token_texts=token_texts(text, tokens) if log_probs else [],
        top=_top(result, "output") if "output_top_texts" in raw else [],
        prompt=_prompt(result, "prompt_top_texts" in raw) if "prompt_texts" in raw else None,
        other_beams=_other_beams(result) if len(raw["sequence_length"]) > INT32_BYTES else [],
    )


def _first_integer(raw: bytes) -> int:
    """Read the first element of an INT32 tensor."""
    return int.from_bytes(raw[:INT32_BYTES], "little", signed=True)


def _first_text(raw: bytes) -> str:
    """Read the first element of a BYTES tensor: its length as UINT32, then itself."""
    length = int.from_bytes(raw[:4], "little")
    return raw[4 : 4 + length].decode()


def _top(result: triton.InferResult, place: str) -> list[TopTokens]:
    texts = result.as_numpy(f"{place}_top_texts")[0]
    log_probs = result.as_numpy(f"{place}_top_log_probs")[0].tolist()
    return [
        [(text.decode(), value) for text, value in zip(*position, strict=True)]
        for position in zip(texts, log_probs, strict=True)
    ]


def _prompt(result: triton.InferResult, has_top: bool) -> PromptLogProbs:
    _, *log_probs = result.as_numpy("prompt_log_probs")[0].tolist()
    _, *top = _top(result, "prompt") if has_top else [[]]
    return PromptLogProbs(
        texts=[text.decode() for text in result.as_numpy("prompt_texts")[0]],
        log_probs=[None, *log_probs],
        top=[[], *top] if has_top else [],
    )


def _other_beams(result: triton.InferResult) -> list[Beam]:
    texts, lengths = result.as_numpy("text_output"), result.as_numpy("sequence_length")
    reasons = result.as_numpy("finish_reason")
    beams = zip(
        texts.reshape(-1)[1:],
        lengths.reshape(-1)[1:],
        [None] * (lengths.size - 1) if reasons is None else reasons.reshape(-1)[1:],
        strict=True,
    )
    return [
        Beam(text.decode(), int(tokens), None if reason is None else reason.decode())
        for text, tokens, reason in beams
    ]


def _best(result: triton.InferResult, name: str) -> list[Any]:
    values: list[Any] = result.as_numpy(name)[0, 0].tolist()
    return values
