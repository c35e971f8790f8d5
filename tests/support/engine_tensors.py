"""The `tensorrt_llm` model of a running server, spoken to in its own tensors."""

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as grpc

from launcher.server import TritonServer
from support.triton_calls import Array, infer_inputs

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """One response: its tensors, and whether it is the last."""

    tensors: dict[str, Array]
    is_final: bool

    @property
    def beams(self) -> list[list[int]]:
        ids, lengths = self.tensors["output_ids"][0], self.tensors["sequence_length"][0]
        return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def question(prompt: list[int], length: int, **values: Any) -> dict[str, Array]:
    """Return input tensors; scalars become [1, 1] of the type their Python type suggests."""
    tensors: dict[str, Array] = {
        "input_ids": np.array([prompt], dtype=np.int32),
        "input_lengths": np.array([[len(prompt)]], dtype=np.int32),
        "request_output_len": np.array([[length]], dtype=np.int32),
    }
    dtypes = {bool: np.bool_, int: np.int32, float: np.float32}
    for name, value in values.items():
        is_scalar = type(value) in dtypes
        tensors[name] = np.array([[value]], dtype=dtypes[type(value)]) if is_scalar else value
    return tensors


def ask(
    triton: TritonServer,
    tensors: dict[str, Array],
    *,
    outputs: list[str] | None = None,
    request_id: str = "",
    on_first: Callable[[], None] = lambda: None,
) -> list[Reply]:
    """Send a request and return its responses; `on_first` is called after the first of them.

    Raises:
        InferenceServerException: the server's refusal.
    """
    replies: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()
    wanted = None if outputs is None else [grpc.InferRequestedOutput(name) for name in outputs]
    received: list[Reply] = []
    with grpc.InferenceServerClient(triton.grpc_address) as client:
        client.start_stream(lambda result, error: replies.put((result, error)))
        client.async_stream_infer(
            "tensorrt_llm",
            infer_inputs(tensors),
            outputs=wanted,
            request_id=request_id,
            enable_empty_final_response=True,
        )
        while not received or not received[-1].is_final:
            result, error = replies.get(timeout=TIMEOUT_SECONDS)
            if error is not None:
                raise error
            received.append(_reply(result))
            if len(received) == 1:
                on_first()
        client.stop_stream()
    return received


def _reply(result: Any) -> Reply:
    response = result.get_response()
    return Reply(
        {output.name: result.as_numpy(output.name) for output in response.outputs},
        response.parameters["triton_final_response"].bool_param,
    )
