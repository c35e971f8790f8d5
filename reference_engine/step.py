"""The reference engine as the engine of the `tensorrt_llm` step."""

from collections.abc import Mapping
from pathlib import Path

from engine_step.interface import Engine
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine


def open_engine(parameters: Mapping[str, str], repository: Path) -> Engine:
    """Load the checkpoint that `checkpoint_dir` names, relative to the model repository.

    Raises:
        CheckpointError: it cannot be served.
        ValueError: the limits contradict each other or the model.
    """
    config = EngineConfig.resolve(
        repository / parameters["checkpoint_dir"],
        max_batch_size=int(parameters["max_num_sequences"]),
        max_seq_len=int(parameters["max_seq_len"]),
        max_tokens_in_paged_kv_cache=int(parameters["max_tokens_in_paged_kv_cache"] or 0) or None,
        max_beam_width=int(parameters["max_beam_width"]),
        max_queue_size=int(parameters["max_queue_size"]),
        dtype=parameters["dtype"],
        tensor_parallel_size=int(parameters["tensor_parallel_size"]),
        tokenizer_dir=repository / tokenizer
        if (tokenizer := parameters["tokenizer_dir"])
        else None,
    )
    return ReferenceEngine(config)
