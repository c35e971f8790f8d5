"""The detokenizer as a Triton model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from postprocessing.postprocessor import EngineResponse, Postprocessor
from postprocessing.stream_gauge import StreamGauge
from postprocessing.streams import Streams


class TritonPythonModel:
    """Decodes the responses that arrive together, in their order."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the tokenizer."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        self._streams = Streams()
        self._metrics = pb_utils.MetricFamily(
            name="aeolus_postprocessing_streams",
            description="Streams whose text is under way",
            kind=pb_utils.MetricFamily.GAUGE,
        )
        labels = {"model": args["model_name"], "version": args["model_version"]}
        self._gauge = StreamGauge(self._metrics.Metric(labels=labels).set)
        self._postprocessor = Postprocessor(
            Path(args["model_repository"]).parent / values["tokenizer_dir"],
            skip_special_tokens=values["skip_special_tokens"] == "true",
            streams=self._streams,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an error in one leaves the others as they are."""
        responses = [self._respond(request) for request in requests]
        self._gauge.report(len(self._streams))
        return responses

    def _respond(self, request: Any) -> Any:
        try:
            return self._decode(request)
        except Exception as error:
            pb_utils.Logger.log_error(f"request {request.request_id()}: {error!r}")
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"the reply cannot be decoded: {error!r}")
            )

    def _decode(self, request: Any) -> Any:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        tokens, lengths = tensors["TOKENS_BATCH"], tensors["SEQUENCE_LENGTH"]
        arrival = tensors.get("ARRIVAL_TIME_NS")
        num_input_tokens = tensors.get("NUM_INPUT_TOKENS")
        echoed = tensors.get("NUM_ECHOED_TOKENS")
        row = int(tensors["BATCH_INDEX"].item()) if "BATCH_INDEX" in tensors else 0
        reasons = _texts(tensors["FINISH_REASON"]) if "FINISH_REASON" in tensors else None
        last_token_time = (
            tensors["LAST_TOKEN_TIME_NS"].item() if "LAST_TOKEN_TIME_NS" in tensors else 0
        )
        decoded = self._postprocessor.text_of(
            EngineResponse(
                beams=[
                    beam[:length].tolist()
                    for beam, length in zip(tokens[0], lengths[0], strict=True)
                ],
                stream=None
                if arrival is None
                else (request.request_id(), int(arrival.item()), row),
                num_input_tokens=0 if num_input_tokens is None else int(num_input_tokens.item()),
                parameters=request.parameters(),
                num_echoed_tokens=None if echoed is None else int(echoed.item()),
                stop_words=_texts(tensors["STOP_WORDS"]) if "STOP_WORDS" in tensors else [],
                finish_reasons=reasons,
                is_last=reasons is not None or last_token_time > 0,
            )
        )
        outputs = [_strings("OUTPUT", decoded.text)]
        if decoded.pending is not None:
            outputs.append(_strings("PENDING", decoded.pending))
        if decoded.stop_reasons is not None:
            outputs.append(_strings("STOP_REASON", decoded.stop_reasons))
        if decoded.finish_reasons is not None:
            outputs.append(_strings("FINISH_REASON", decoded.finish_reasons))
        if decoded.with_output_ids:
            outputs.append(pb_utils.Tensor("OUTPUT_IDS", tokens))
        if "PROMPT_IDS" in tensors:
            prompt = tensors["PROMPT_IDS"]
            texts = self._postprocessor.token_texts(prompt[0].tolist(), request.parameters())
            outputs.append(_shaped("PROMPT_TEXTS", texts, prompt))
        for name in ("PROMPT_TOP", "OUTPUT_TOP"):
            if f"{name}_IDS" in tensors:
                ids = tensors[f"{name}_IDS"]
                texts = self._postprocessor.texts_of(ids.reshape(-1).tolist())
                outputs.append(_shaped(f"{name}_TEXTS", texts, ids))
        return pb_utils.InferenceResponse(outputs)


def _shaped(name: str, texts: list[str], like: Any) -> Any:
    content = np.array([text.encode() for text in texts], dtype=np.object_)
    return pb_utils.Tensor(name, content.reshape(like.shape))


def _texts(tensor: Any) -> list[str]:
    return [text.decode() for text in tensor.reshape(-1) if text]


def _strings(name: str, texts: list[str]) -> Any:
    # One string a beam and no batch dimension: NVIDIA's clients decode the first element.
    return pb_utils.Tensor(name, np.array([text.encode() for text in texts], dtype=np.object_))
