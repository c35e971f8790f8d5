"""The tokenizer as a Triton model."""

import json
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from aeolus_contract.failures import (
    FailureKind,
    InvalidRequestError,
    failure_text,
)
from aeolus_contract.request_parameters import UnknownParameters
from guided_decoding.guide import Guide, GuideError
from guided_decoding.trial import TooManyTrialsError, Trials
from preprocessing.preprocessor import Preprocessor
from preprocessing.request import EngineInputs, PromptRequest
from preprocessing.rows import rows_of, together
from preprocessing.tensors import Tensor, request_from_tensors, tensors_of


class TritonPythonModel:
    """Prepares each request for the engine, or says why it cannot be served."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        tokenizer_dir = Path(args["model_repository"]).parent / values["tokenizer_dir"]
        self._preprocessor = Preprocessor.load(
            tokenizer_dir,
            max_seq_len=int(values["max_seq_len"]),
            max_beam_width=int(values["max_beam_width"]),
            engine=values["engine"],
            split_special_tokens=values["split_special_tokens"] == "true",
        )
        self._trials = Trials(tokenizer_dir)
        self._unknown_parameters = UnknownParameters(pb_utils.Logger.log_warn)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an error in one leaves the others as they are.

        A request with a guide that is yet to be tried is answered later, by its response sender.
        """
        asked = [self._read(request) for request in requests]
        prompts = [each for rows in asked if isinstance(rows, list) for each in rows]
        prepared = iter(self._preprocessor.prepare(prompts))
        return [
            self._answer(
                request, [next(prepared) for _ in rows] if isinstance(rows, list) else rows, rows
            )
            for request, rows in zip(requests, asked, strict=True)
        ]

    def finalize(self) -> None:
        """End the process that tries guides."""
        self._trials.close()

    def _read(self, request: Any) -> list[PromptRequest] | Exception:
        """Return the prompts of a request, of which mostly there is one."""
        try:
            parameters = request.parameters()
            self._unknown_parameters.check(parameters)
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            return [request_from_tensors(row, parameters) for row in rows_of(tensors)]
        except Exception as error:
            return error

    def _answer(
        self,
        request: Any,
        prepared: list[EngineInputs | Exception] | Exception,
        asked: list[PromptRequest] | Exception,
    ) -> Any:
        """Return the response; or nothing, where it is sent once the guides have been tried."""
        rows = prepared if isinstance(prepared, list) else []
        guides = [each.guide for each in rows if isinstance(each, EngineInputs) and each.guide]
        if not guides:
            return self._respond(request, prepared, asked)
        trial = self._trials.check(guides)
        if trial.done():
            return self._respond(request, _with_guides(rows, trial), asked)
        sender = request.get_response_sender()
        trial.add_done_callback(
            lambda done: sender.send(
                self._respond(request, _with_guides(rows, done), asked),
                pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
            )
        )
        return None

    def _respond(
        self,
        request: Any,
        prepared: list[EngineInputs | Exception] | Exception,
        asked: list[PromptRequest] | Exception,
    ) -> Any:
        try:
            outputs = _outputs(prepared, asked)
        except (InvalidRequestError, GuideError) as error:
            return _error_response(FailureKind.INVALID_REQUEST, str(error))
        except TooManyTrialsError as error:
            return _error_response(FailureKind.QUEUE_FULL, str(error))
        except Exception as error:
            pb_utils.Logger.log_error(f"request {request.request_id()}: {error!r}")
            return _error_response(FailureKind.OTHER, f"the request cannot be prepared: {error!r}")
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, each) for name, each in outputs.items() if name in wanted]
        )


def _with_guides(
    rows: list[EngineInputs | Exception], trial: "Future[list[Guide]]"
) -> list[EngineInputs | Exception] | Exception:
    """Put in what came of the guides of those rows that have one; or return why nothing did."""
    try:
        tried = iter(trial.result())
    except (GuideError, TooManyTrialsError, CancelledError) as error:
        return error
    return [
        replace(each, guide=next(tried)) if isinstance(each, EngineInputs) and each.guide else each
        for each in rows
    ]


def _outputs(
    prepared: list[EngineInputs | Exception] | Exception,
    asked: list[PromptRequest] | Exception,
) -> dict[str, Tensor]:
    """Return the outputs of a request; raises why one of its prompts cannot be served."""
    if isinstance(prepared, Exception):
        raise prepared
    if isinstance(asked, Exception):
        raise asked
    rows = []
    for inputs, prompt in zip(prepared, asked, strict=True):
        if isinstance(inputs, Exception):
            raise inputs
        rows.append((tensors_of(inputs, prompt.stream), inputs.pad_id))
    (first, pad_id), *others = rows
    return together([first, *(each for each, _ in others)], pad_id) if others else first


def _error_response(kind: FailureKind, reason: str) -> Any:
    code = getattr(pb_utils.TritonError, kind.triton_code)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(failure_text(kind, reason), code))
