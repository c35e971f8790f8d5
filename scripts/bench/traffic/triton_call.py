"""What a client of Triton's gRPC API sends."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import np_to_triton_dtype

from aeolus_client.triton.tensors import stop_tensors

Array = np.ndarray[Any, np.dtype[Any]]


def infer_inputs(arrays: Mapping[str, Array]) -> list[triton.InferInput]:
    """Return inputs of these names, in the arrays' own types; texts are arrays of objects."""
    tensors = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensors.append(tensor.set_data_from_numpy(array))
    return tensors


async def engine_call(
    inputs: list[triton.InferInput], request_id: str = ""
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the one request to `tensorrt_llm` that `stream_infer` is to send."""
    yield {"model_name": "tensorrt_llm", "inputs": inputs, "request_id": request_id}


def stop_call(request_id: str) -> AsyncGenerator[dict[str, Any], None]:
    """Return the call that makes `tensorrt_llm` cancel a request."""
    stop = {each.name: each.values for each in stop_tensors()}
    return engine_call(infer_inputs(stop), request_id)
