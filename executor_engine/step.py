"""The executor as the engine of the `tensorrt_llm` step."""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build_engines.checkpoint.engine_config import EngineError, read_engine
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
    try:
        config = read_engine(directory)
    except EngineError as error:
        raise SettingsError(f"parameter gpt_model_path: {error}") from error
    limits = config.build_config
    executor = _open(bindings, directory, executor_config(bindings, parameters))
    if not executor.can_enqueue_requests():
        return _follow(executor)
    max_beam_width = int(parameters.get("max_beam_width") or limits.max_beam_width)
    return ExecutorEngine(
        bindings,
        executor,
        Limits(config.pretrained_config.vocab_size, limits.max_seq_len, max_beam_width),
        int(parameters.get("max_num_sequences") or limits.max_batch_size),
        gathers_context_logits=limits.gather_context_logits,
        ranks=config.pretrained_config.mapping.world_size,
    )


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
