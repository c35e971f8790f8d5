"""The tokenizer step of the ensemble."""

import json
import sys
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

# transformers imports torch wherever it is installed. Its tokenizers need none, and this process
# is spared 270 MB and two seconds of its start.
sys.modules["torch"] = None  # type: ignore[assignment]

from preprocessing.errors import InvalidRequestError  # noqa: E402
from preprocessing.preprocessor import Preprocessor  # noqa: E402
from preprocessing.tensors import request_from_tensors, tensors_of  # noqa: E402


class TritonPythonModel:
    """Prepares each request for the engine, or says why it can not be served."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        self._preprocessor = Preprocessor.load(
            Path(args["model_repository"]).parent / values["tokenizer_dir"],
            max_seq_len=int(values["max_seq_len"]),
            max_beam_width=int(values["max_beam_width"]),
            engine=values["engine"],
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an error in one is that one's alone."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            return self._prepare(request)
        except InvalidRequestError as error:
            # The words are how a client tells a refusal: a stream brings it no status.
            return _error_response(f"invalid request: {error}", pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            pb_utils.Logger.log_error(f"request {request.request_id()}: {error!r}")
            return _error_response(
                f"the request can not be prepared: {error!r}", pb_utils.TritonError.INTERNAL
            )

    def _prepare(self, request: Any) -> Any:
        asked = request_from_tensors(
            {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        )
        outputs = tensors_of(self._preprocessor.prepare(asked), asked.stream)
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, values) for name, values in outputs.items() if name in wanted]
        )


def _error_response(text: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
