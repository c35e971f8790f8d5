"""One call of the `tensorrt_llm` model: what the engine is asked, and how it is answered."""

import time
from dataclasses import dataclass

import numpy as np

from reference_engine.interface import EngineRequest, TokenEvent
from reference_engine.tensors import (
    Tensor,
    Tensors,
    counts_asked,
    request_from_tensors,
    tensors_from_event,
    wants_perf_metrics,
)


@dataclass(frozen=True, slots=True)
class EngineCall:
    """An engine request, and what each of its responses carries beside the tokens."""

    request: EngineRequest
    counts: frozenset[str]
    arrival_time_ns: int | None

    @classmethod
    def from_tensors(
        cls, tensors: Tensors, request_id: str, exclude_input_in_output: bool
    ) -> "EngineCall":
        """Read a call from its input tensors, see `tensors.request_from_tensors`.

        `return_perf_metrics` asks for `arrival_time_ns`, taken once and repeated in every
        response, as the C++ backend does (NVIDIA/TensorRT-LLM,
        triton_backend/inflight_batcher_llm/src/model_instance_state.cc).

        Raises:
            RequestRefusedError: a tensor is missing or malformed.
        """
        return cls(
            request=request_from_tensors(
                tensors, request_id, exclude_input_in_output=exclude_input_in_output
            ),
            counts=counts_asked(tensors),
            arrival_time_ns=time.monotonic_ns() if wants_perf_metrics(tensors) else None,
        )

    def tensors_of(self, event: TokenEvent) -> dict[str, Tensor]:
        """Return the output tensors of one response, see `tensors.tensors_from_event`."""
        outputs = tensors_from_event(event, self.request, self.counts)
        if self.arrival_time_ns is not None:
            outputs["arrival_time_ns"] = np.array([[self.arrival_time_ns]], dtype=np.int64)
        return outputs
