"""Engine directories that the stand-in for TensorRT-LLM serves (tests/stand_ins)."""

import json
from pathlib import Path
from typing import Any

STAND_INS = Path(__file__).parents[1] / "stand_ins"


def write_executor_engine(
    directory: Path,
    model: dict[str, Any],
    *,
    vocab_size: int,
    world_size: int = 1,
    **limits: int,
) -> Path:
    """Write what the stand-in takes for an engine.

    Args:
        directory: to make.
        model: what `rank0.engine` names, see tensorrt_llm.standing_in.models.
        vocab_size: the model's.
        world_size: ranks, tensor parallel.
        limits: of build_config that are to differ.
    """
    directory.mkdir(parents=True)
    build = {"max_batch_size": 16, "max_beam_width": 4, "max_seq_len": 512, "max_num_tokens": 512}
    config = {
        "version": "1.2.1",
        "pretrained_config": {
            "vocab_size": vocab_size,
            "mapping": {"world_size": world_size, "tp_size": world_size},
        },
        "build_config": build | limits,
    }
    (directory / "config.json").write_text(json.dumps(config))
    for rank in range(world_size):
        (directory / f"rank{rank}.engine").write_text(json.dumps(model))
    return directory
