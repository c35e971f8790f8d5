"""A `tensorrt_llm` step without a model: made-up tokens, as fast as they can be sent.

Its steps are an engine's: every running request gets one token, in turn.
"""

import json
import queue
import threading
from collections import deque
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from null_tokens import null_tokens

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
ONE = np.array([[1]], np.int32)


class TritonPythonModel:
    """Sends from a thread of its own, as an engine does."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the thread."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._vocab_size = int(parameters["vocab_size"]["string_value"])
        self._arrived: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="null engine")
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Take the requests; responses follow."""
        for request in requests:
            sender = request.get_response_sender()
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            if "stop" in tensors:
                sender.send(flags=FINAL)
                continue
            self._count += 1
            self._arrived.put(_Running(sender, tensors, self._vocab_size, self._count))

    def finalize(self) -> None:
        """End the thread."""
        self._arrived.put(None)
        self._thread.join()

    def _run(self) -> None:
        running: deque[_Running] = deque()
        while True:
            while not running or not self._arrived.empty():
                arrived = self._arrived.get()
                if arrived is None:
                    return
                running.append(arrived)
            request = running.popleft()
            if not request.send_next():
                running.append(request)


class _Running:
    """One request: its tokens to come and the tensors that each response has beside them."""

    def __init__(self, sender: Any, tensors: dict[str, Any], vocab_size: int, number: int):
        self._sender = sender
        tokens = null_tokens(
            int(tensors["seed"].item()) if "seed" in tensors else 0,
            int(tensors["request_output_len"].item()),
            vocab_size,
        )
        self._responses = iter(np.array(tokens, np.int32).reshape(-1, 1, 1, 1))
        self._left = len(tokens)
        self._others = [("sequence_length", ONE)]
        if "return_perf_metrics" in tensors:
            self._others.append(("arrival_time_ns", np.array([[number]], np.int64)))
        if "return_num_input_tokens" in tensors:
            self._others.append(("num_input_tokens", tensors["input_lengths"].reshape(1, 1)))
        if "return_num_output_tokens" in tensors:
            self._others.append(("num_output_tokens", ONE))

    def send_next(self) -> bool:
        """Send a token; return whether it was the last."""
        self._left -= 1
        outputs = [pb_utils.Tensor("output_ids", next(self._responses))]
        outputs += [pb_utils.Tensor(name, values) for name, values in self._others]
        is_last = not self._left
        self._sender.send(pb_utils.InferenceResponse(outputs), flags=FINAL if is_last else 0)
        return is_last
