"""The tokenizer step of the ensemble."""

import json
import sys
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

# transformers imports torch wherever it is installed. Its tokenizers need none, and this process
# is spared 270 MB and two seconds of its start.
sys.modules["torch"] = None  # type: ignore[assignment]

from aeolus_contract.failures import (  # noqa: E402
    FailureKind,
    InvalidRequestError,
    failure_text,
)
from aeolus_contract.request_parameters import UnknownParameters  # noqa: E402
from preprocessing.preprocessor import Preprocessor  # noqa: E402
from preprocessing.request import EngineInputs, PromptRequest  # noqa: E402
from preprocessing.tensors import request_from_tensors, tensors_of  # noqa: E402


class TritonPythonModel:
    """Prepares each request for the engine, or says why it cannot be served."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        self._preprocessor = Preprocessor.load(
            Path(args["model_repository"]).parent / values["tokenizer_dir"],
            max_seq_len=int(values["max_seq_len"]),
            max_beam_width=int(values["max_beam_width"]),
            engine=values["engine"],
            split_special_tokens=values["split_special_tokens"] == "true",
        )
        self._unknown_parameters = UnknownParameters(pb_utils.Logger.log_warn)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an error in one is that one's alone."""
        asked = [self._read(request) for request in requests]
        readable = [each for each in asked if isinstance(each, PromptRequest)]
        prepared = iter(self._preprocessor.prepare(readable))
        return [
            self._respond(
                request, each, next(prepared) if isinstance(each, PromptRequest) else each
            )
            for request, each in zip(requests, asked, strict=True)
        ]

    def _read(self, request: Any) -> PromptRequest | Exception:
        try:
            parameters = request.parameters()
            self._unknown_parameters.check(parameters)
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            return request_from_tensors(tensors, parameters)
        except Exception as error:
            return error

    def _respond(
        self, request: Any, asked: PromptRequest | Exception, prepared: EngineInputs | Exception
    ) -> Any:
        if isinstance(asked, PromptRequest) and isinstance(prepared, EngineInputs):
            outputs = tensors_of(prepared, asked.stream)
            wanted = request.requested_output_names()
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, each) for name, each in outputs.items() if name in wanted]
            )
        if isinstance(prepared, InvalidRequestError):
            return _error_response(FailureKind.INVALID_REQUEST, str(prepared))
        pb_utils.Logger.log_error(f"request {request.request_id()}: {prepared!r}")
        return _error_response(FailureKind.OTHER, f"the request cannot be prepared: {prepared!r}")


def _error_response(kind: FailureKind, reason: str) -> Any:
    code = getattr(pb_utils.TritonError, kind.triton_code)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(failure_text(kind, reason), code))
