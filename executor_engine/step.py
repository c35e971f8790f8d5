"""The executor as the engine of the `tensorrt_llm` step."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine_step.interface import (
    Engine,
    EngineRequest,
    EngineStatistics,
    EngineStoppedError,
    TokenEvent,
)
from engine_step.validation import Limits
from executor_engine.bindings import load_bindings
from executor_engine.engine import ExecutorEngine
from executor_engine.errors import first_line
from executor_engine.settings import Parameters, SettingsError, executor_config
from executor_engine.statistics import no_statistics

logger = logging.getLogger(__name__)


def open_engine(parameters: Parameters, repository: Path) -> Engine:
    """Load the engine that `gpt_model_path` names, relative to the model repository.

    Where this process is a following rank it returns only when the leader has shut down.

    Raises:
        BindingsError: this Python has no TensorRT-LLM with an executor.
        SettingsError: a parameter is wrong, or the engine's directory is.
        RuntimeError: the executor cannot load the engine.
    """
    bindings = load_bindings()
    directory = repository / parameters["gpt_model_path"]
    config = _read_config(directory)
    limits = config["build_config"]
    executor = _open(bindings, directory, executor_config(bindings, parameters))
    if not executor.can_enqueue_requests():
        return _follow(executor)
    max_beam_width = int(parameters.get("max_beam_width") or limits["max_beam_width"])
    return ExecutorEngine(
        bindings,
        executor,
        Limits(config["pretrained_config"]["vocab_size"], limits["max_seq_len"], max_beam_width),
        int(parameters.get("max_num_sequences") or limits["max_batch_size"]),
        config["pretrained_config"].get("mapping", {}).get("world_size", 1),
    )


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"parameter gpt_model_path names {directory}, which is not a TensorRT-LLM engine:"
            f" {error}"
        ) from error
    return config


def _open(bindings: Any, directory: Path, config: Any) -> Any:
    try:
        return bindings.Executor(
            model_path=directory,
            model_type=bindings.ModelType.DECODER_ONLY,
            executor_config=config,
        )
    except RuntimeError as error:
        raise RuntimeError(f"{directory}: {first_line(str(error))}") from error


def _follow(executor: Any) -> Engine:
    """Take part in the leader's work until it ends, then end the tritonserver of this rank."""
    logger.info("this rank follows")
    executor.shutdown()  # returns when the leader has shut down
    os.kill(os.getppid(), signal.SIGTERM)
    return EndedRank()


class EndedRank:
    """The engine of a following rank, whose tritonserver is ending."""

    def submit(self, _request: EngineRequest, _on_event: Callable[[TokenEvent], None]) -> None:
        """Refuse: only the leader serves."""
        raise EngineStoppedError("this rank follows another one, and has ended")

    def cancel(self, _request_id: str) -> None:
        """There is nothing to cancel."""

    def statistics(self) -> EngineStatistics:
        """Return zeros."""
        return no_statistics(0, ranks=0)

    def is_alive(self) -> bool:
        """It has ended as it should."""
        return True

    def shutdown(self) -> None:
        """It is shut down."""
