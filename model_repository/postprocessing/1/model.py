"""The detokenizer step of the ensemble."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from postprocessing.postprocessor import Postprocessor


class TritonPythonModel:
    """Decodes the responses that arrive together, in their order."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the tokenizer."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        self._skip_special_tokens = values["skip_special_tokens"] == "true"
        self._postprocessor = Postprocessor(
            Path(args["model_repository"]).parent / values["tokenizer_dir"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an error in one is that one's alone."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            return self._decode(request)
        except Exception as error:
            pb_utils.Logger.log_error(f"request {request.request_id()}: {error!r}")
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"the reply can not be decoded: {error!r}")
            )

    def _decode(self, request: Any) -> Any:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        tokens, lengths = tensors["TOKENS_BATCH"], tensors["SEQUENCE_LENGTH"]
        arrival = tensors.get("ARRIVAL_TIME_NS")
        parameters = json.loads(request.parameters() or "{}")
        decoded = self._postprocessor.text_of(
            [beam[:length].tolist() for beam, length in zip(tokens[0], lengths[0], strict=True)],
            None if arrival is None else (request.request_id(), int(arrival.item())),
            parameters.get("skip_special_tokens", self._skip_special_tokens),
        )
        return pb_utils.InferenceResponse(
            [_strings("OUTPUT", decoded.text), _strings("PENDING", decoded.pending)]
        )


def _strings(name: str, texts: list[str]) -> Any:
    return pb_utils.Tensor(name, np.array([[text.encode() for text in texts]], dtype=np.object_))
