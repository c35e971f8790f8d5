"""Requests to a running Triton model as a stock gRPC client sends them."""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import np_to_triton_dtype

from launcher.server import TritonServer

Array = np.ndarray[Any, np.dtype[Any]]
TIMEOUT_SECONDS = 60


def infer_inputs(tensors: Mapping[str, Array]) -> list[Any]:
    """Return inputs of these names, in the arrays' own types."""
    inputs = []
    for name, array in tensors.items():
        tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    return inputs


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    model: str
    tensors: dict[str, Array]
    outputs: Sequence[str] | None = None
    request_id: str = ""
    parameters: dict[str, Any] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        outputs = [grpc.InferRequestedOutput(name) for name in self.outputs or ()]
        return {
            "model_name": self.model,
            "inputs": infer_inputs(self.tensors),
            "outputs": outputs or None,
            "request_id": self.request_id,
            "parameters": self.parameters,
        }


def infer(server: TritonServer, call: Call) -> Any:
    """Send a request that has one response."""
    with grpc.InferenceServerClient(server.grpc_address) as client:
        return client.infer(**call.arguments, client_timeout=TIMEOUT_SECONDS)


def stream(server: TritonServer, *calls: Call) -> list[Any]:
    """Send requests over one stream, close it, and return every response.

    Raises:
        InferenceServerException: what the server said instead of one.
    """
    received: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
    with grpc.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(
            lambda result, error: received.put((result, error)), stream_timeout=TIMEOUT_SECONDS
        )
        for call in calls:
            client.async_stream_infer(**call.arguments)
        client.stop_stream()
    results = []
    while not received.empty():
        result, error = received.get()
        if error is not None:
            raise error
        results.append(result)
    return results


def names_of(result: Any) -> list[str]:
    """Return the names of a response's outputs, in their order."""
    return [output.name for output in result.get_response().outputs]
