"""An engine as a Triton model: requests in, its events out as responses."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import triton_python_backend_utils as pb_utils

from aeolus_contract.failures import FailureKind, failure_text
from engine_step.batch import Batch, RowSender, row_id, rows_of
from engine_step.call import EngineCall
from engine_step.delivery import Delivery, ResponseSender
from engine_step.end_of_stream import with_end_of_stream
from engine_step.interface import (
    Engine,
    QueueFullError,
    RankLostError,
    RequestRefusedError,
    TokenEvent,
)
from engine_step.metrics import EngineMetrics, Metric
from engine_step.tensors import wants_stop

logger = logging.getLogger(__name__)


class EngineModel:
    """Starts one engine; every request's events go out as its responses.

    `engines` names the module of each runtime, whose `open_engine` is given the parameters of the
    model's configuration and the directory of the model repository.
    """

    engines: ClassVar[Mapping[str, str]]

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine; an error here is the reason Triton gives for not loading."""
        config = json.loads(args["model_config"])
        values = {name: each["string_value"] for name, each in config["parameters"].items()}
        self._labels = {"model": args["model_name"], "version": args["model_version"]}
        self._families: dict[str, Any] = {}
        self._batch_sizes: dict[str, int] = {}
        self._is_decoupled = config["model_transaction_policy"]["decoupled"]
        self._exclude_input = values["exclude_input_in_output"] == "true"
        self._engine = self._open_engine(values, Path(args["model_repository"]).parent)
        self._found_dead = False
        self._metrics = EngineMetrics(self._metric)
        self._delivery = Delivery(
            cancel=self._engine.cancel,
            on_check=self._check,
            check_period_seconds=int(values["cancellation_check_period_ms"]) / 1000,
            round_seconds=int(values["response_round_ms"]) / 1000,
        )

    def execute(self, requests: list[Any]) -> None:
        """Hand the requests to the engine and return; responses follow."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._start(request, sender)
            except Exception as error:
                event = TokenEvent([], is_final=True, error=error)
                self._delivery.send(sender, event, _error_response)

    def finalize(self) -> None:
        """End every request, then stop."""
        self._engine.shutdown()
        self._delivery.close()

    def _open_engine(self, parameters: dict[str, str], repository: Path) -> Engine:
        runtime = parameters["runtime"]
        if runtime not in self.engines:
            raise ValueError(
                f"parameter runtime is {runtime!r}; use one of {', '.join(self.engines)}"
            )
        engine: Engine = import_module(self.engines[runtime]).open_engine(parameters, repository)
        return engine

    def _start(self, request: Any, sender: Any) -> None:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        if wants_stop(tensors):
            self._stop(request.request_id())
            self._delivery.send(sender, TokenEvent([], is_final=True), lambda _: None)
            return
        rows = rows_of(tensors)
        request_id = request.request_id() or uuid4().hex
        calls = [
            EngineCall.from_tensors(
                row,
                row_id(request_id, number),
                request.parameters(),
                exclude_input_in_output=self._exclude_input,
                requested=request.requested_output_names(),
                batch_index=number if len(rows) > 1 else None,
            )
            for number, row in enumerate(rows)
        ]
        if not self._is_decoupled:
            _check_one_response(calls)
        if len(calls) == 1:
            self._submit(calls[0], sender)
            return
        self._batch_sizes[request_id] = len(calls)
        batch = Batch(sender, len(calls), on_end=lambda: self._batch_sizes.pop(request_id, None))
        for call in calls:
            row_sender = RowSender(batch)
            try:
                self._submit(call, row_sender)
            except Exception as error:
                event = TokenEvent([], is_final=True, error=error)
                self._delivery.send(row_sender, event, _error_response)

    def _submit(self, call: EngineCall, sender: ResponseSender) -> None:
        def to_response(event: TokenEvent) -> Any:
            if event.error is not None:
                return _error_response(event)
            if event.is_final:
                self._metrics.count_request(len(call.request.input_ids), event.num_generated)
            outputs = call.tensors_of(event).items()
            return pb_utils.InferenceResponse([pb_utils.Tensor(*each) for each in outputs])

        self._delivery.track(call.request.request_id, sender)
        self._engine.submit(
            call.request,
            with_end_of_stream(lambda event: self._delivery.send(sender, event, to_response)),
        )

    def _check(self) -> None:
        """Report what the engine does; where it has died, end this process once all know it."""
        self._metrics.report(self._engine.statistics())
        if self._engine.is_alive():
            return
        if self._found_dead:
            os._exit(1)  # the launcher starts the server again
        logger.critical("the engine has died; its process ends")
        self._found_dead = True  # what it had to say is on its way until the next check

    def _stop(self, request_id: str) -> None:
        if not request_id:
            raise RequestRefusedError(
                "stop is set, but there is no request id; send the id of the request to stop"
            )
        for number in range(self._batch_sizes.get(request_id, 1)):
            self._engine.cancel(row_id(request_id, number))

    def _metric(self, family: str, label: str, value: str, bounds: Sequence[float]) -> Metric:
        if family not in self._families:
            kinds = pb_utils.MetricFamily
            self._families[family] = pb_utils.MetricFamily(
                name=family,
                description="TensorRT-LLM metrics",
                kind=kinds.HISTOGRAM if bounds else kinds.GAUGE,
            )
        metric: Metric = self._families[family].Metric(
            labels={**self._labels, label: value}, buckets=list(bounds) or None
        )
        return metric


def _check_one_response(calls: list[EngineCall]) -> None:
    """Refuse what a model that is not decoupled cannot answer: by more than one response."""
    if calls[0].request.streaming:
        needs = "streaming needs"
    elif len(calls) > 1:
        needs = "a request of several prompts needs"
    else:
        return
    raise RequestRefusedError(
        f"{needs} a model of the decoupled transaction policy; this one is not"
    )


def _error_response(event: TokenEvent) -> Any:
    match event.error:
        case RequestRefusedError():
            kind = FailureKind.INVALID_REQUEST
        case QueueFullError():
            kind = FailureKind.QUEUE_FULL
        case RankLostError():
            kind = FailureKind.RESTARTING
        case _:
            kind = FailureKind.OTHER
    text = failure_text(kind, str(event.error))
    code = getattr(pb_utils.TritonError, kind.triton_code)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
