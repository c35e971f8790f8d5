"""A `tensorrt_llm` step without a model: made-up tokens.

Its steps are an engine's: every running request gets one token, in turn. It sends each by itself,
as the C++ backend does; or hands them at a given pace to what sends the reference engine's.
"""

import json
import queue
import threading
import time
from collections import deque
from typing import Any

import triton_python_backend_utils as pb_utils
from null_tokens import null_tokens  # type: ignore[import-not-found]  # beside it in the model

from engine_step.call import EngineCall
from engine_step.delivery import FINAL, Delivery
from engine_step.interface import PerfMetrics, TokenEvent
from engine_step.tensors import wants_stop

SLEEP_SECONDS = 0.002


class TritonPythonModel:
    """Makes tokens in a thread of its own, as an engine does."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the thread."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._vocab_size = int(parameters["vocab_size"]["string_value"])
        self._pace = int(parameters["tokens_per_second"]["string_value"])
        self._delivery = Delivery(lambda _: None, lambda: None, 1.0, 0.0) if self._pace else None
        self._arrived: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="null engine")
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Take the requests; responses follow."""
        for request in requests:
            sender = request.get_response_sender()
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            if wants_stop(tensors):
                sender.send(flags=FINAL)
                continue
            self._count += 1
            call = EngineCall.from_tensors(
                tensors,
                request_id="null",
                exclude_input_in_output=True,
                requested=request.requested_output_names(),
            )
            self._arrived.put(_Running(sender, call, self._vocab_size, self._count))

    def finalize(self) -> None:
        """End the threads."""
        self._arrived.put(None)
        self._thread.join()
        if self._delivery is not None:
            self._delivery.close()

    def _run(self) -> None:
        running: deque[_Running] = deque()
        made, since = 0, time.monotonic()
        while True:
            if not running:
                self._take(running)
                made, since = 0, time.monotonic()
            while not self._arrived.empty():
                self._take(running)
            if not running:
                return
            request = running.popleft()
            event = request.next_event()
            if not event.is_final:
                running.append(request)
            if self._delivery is None:
                request.send(event)
                continue
            self._delivery.send(request.sender, event, request.to_response)
            made += 1
            ahead = made / self._pace - (time.monotonic() - since)
            if ahead > SLEEP_SECONDS:
                time.sleep(ahead)

    def _take(self, running: "deque[_Running]") -> None:
        arrived = self._arrived.get()
        if arrived is None:
            running.clear()
        else:
            running.append(arrived)


class _Running:
    """One request and its tokens to come."""

    def __init__(self, sender: Any, call: EngineCall, vocab_size: int, number: int):
        self.sender = sender
        self._call = call
        tokens = null_tokens(
            call.request.sampling.seed or 0, call.request.request_output_len, vocab_size
        )
        self._tokens = deque(tokens)
        self._metrics = PerfMetrics(number, 0, 0, 0, 0, 0, 0)

    def next_event(self) -> TokenEvent:
        """Return one more token."""
        token = self._tokens.popleft()
        return TokenEvent([[token]], is_final=not self._tokens, perf_metrics=self._metrics)

    def to_response(self, event: TokenEvent) -> Any:
        """Return the response."""
        outputs = self._call.tensors_of(event).items()
        return pb_utils.InferenceResponse([pb_utils.Tensor(*each) for each in outputs])

    def send(self, event: TokenEvent) -> None:
        """Send the response now."""
        self.sender.send(self.to_response(event), flags=FINAL if event.is_final else 0)
