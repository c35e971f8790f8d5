"""A `postprocessing` step as NVIDIA's: each response is decoded by itself (for comparison only).

Read from NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/postprocessing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from transformers import AutoTokenizer


class TritonPythonModel:
    """One `decode` of Hugging Face's tokenizer a beam."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._tokenizer = AutoTokenizer.from_pretrained(
            Path(parameters["tokenizer_dir"]["string_value"])
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode each response."""
        return [self._decode(request) for request in requests]

    def _decode(self, request: Any) -> Any:
        tokens = pb_utils.get_input_tensor_by_name(request, "TOKENS_BATCH").as_numpy()
        lengths = pb_utils.get_input_tensor_by_name(request, "SEQUENCE_LENGTH").as_numpy()
        texts = [
            self._tokenizer.decode(beam[:length], skip_special_tokens=True).encode()
            for beams, beam_lengths in zip(tokens, lengths, strict=True)
            for beam, length in zip(beams, beam_lengths, strict=True)
        ]
        output = pb_utils.Tensor("OUTPUT", np.array(texts, dtype=np.object_))
        return pb_utils.InferenceResponse([output])
