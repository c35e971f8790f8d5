"""One call of the `tensorrt_llm` model: what the engine is asked, and how it is answered."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.request_parameters import DEFAULT_PRIORITY, read_request_parameters
from engine_step.interface import EngineRequest, RequestRefusedError, TokenEvent
from engine_step.tensors import (
    Tensor,
    Tensors,
    counts_asked,
    request_from_tensors,
    tensors_from_event,
    tensors_from_perf_metrics,
)

REQUIRED_OUTPUTS = ("output_ids", "sequence_length")
"""The C++ backend answers no request without them."""


@dataclass(frozen=True, slots=True)
class EngineCall:
    """An engine request, and what each of its responses carries beside the tokens."""

    request: EngineRequest
    counts: frozenset[str]
    stop_words_texts: Tensor | None
    """STRING [1, words], what the stop words were made from: every response repeats them."""
    requested: frozenset[str]
    batch_index: int | None = None
    """Which row of a Triton request of several this is."""

    @classmethod
    def from_tensors(
        cls,
        tensors: Tensors,
        request_id: str,
        parameters: str = "",
        *,
        exclude_input_in_output: bool,
        requested: Collection[str],
        batch_index: int | None = None,
    ) -> "EngineCall":
        """Read a call from its input tensors, see `tensors.request_from_tensors`.

        Args:
            tensors: by input name.
            request_id: not empty.
            parameters: the request's parameters, see `priority_of`.
            exclude_input_in_output: what holds when the tensor of that name is absent.
            requested: names of the outputs that are wanted.
            batch_index: of a row of several.

        Raises:
            RequestRefusedError: a tensor or parameter is missing or malformed, or a required
                output not wanted.
        """
        for name in REQUIRED_OUTPUTS:
            if name not in requested:
                raise RequestRefusedError(f"{name} must be among the requested outputs")
        request = request_from_tensors(
            tensors, request_id, exclude_input_in_output=exclude_input_in_output
        )
        return cls(
            request=replace(request, priority=priority_of(parameters)),
            counts=counts_asked(tensors),
            stop_words_texts=tensors.get("stop_words_texts"),
            requested=frozenset(requested),
            batch_index=batch_index,
        )

    def tensors_of(self, event: TokenEvent) -> dict[str, Tensor]:
        """Return the output tensors of one response, see `tensors.tensors_from_event`."""
        outputs = tensors_from_event(event, self.request, self.counts)
        if self.request.return_perf_metrics and event.perf_metrics is not None:
            outputs |= tensors_from_perf_metrics(event.perf_metrics, self.requested)
        if self.stop_words_texts is not None:
            outputs["stop_words_texts"] = self.stop_words_texts
            outputs["num_echoed_tokens"] = np.array([[self._num_echoed_tokens]], dtype=np.int32)
        if self.batch_index is not None:
            outputs["batch_index"] = np.array([[self.batch_index]], dtype=np.int32)
        return {name: tensor for name, tensor in outputs.items() if name in self.requested}

    @property
    def _num_echoed_tokens(self) -> int:
        request = self.request
        is_echoed = not (request.streaming or request.exclude_input_in_output)
        return len(request.input_ids) if is_echoed else 0


def priority_of(parameters: str) -> float:
    """Return the priority of a request, 0 to 1, from the JSON object of its parameters.

    Raises:
        RequestRefusedError: it is not such a number.
    """
    try:
        priority = read_request_parameters(parameters).request_priority
    except InvalidRequestError as error:
        raise RequestRefusedError(str(error)) from error
    return DEFAULT_PRIORITY if priority is None else priority
