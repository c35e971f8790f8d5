"""The committed model repository with the null engine in it."""

import json
import shutil
from pathlib import Path
from typing import Any

from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED

MODELS = Path(__file__).parent / "triton_models"
CHECKPOINT = COMMITTED.path.parent / "demo" / "checkpoint"


def vocab_size() -> int:
    """Ids that the null engine sends are below."""
    size: int = json.loads((CHECKPOINT / "config.json").read_text())["vocab_size"]
    return size


def null_repository(destination: Path, tokens_per_second: int = 0) -> ModelRepository:
    """Write ours: the tokenizer steps as they are, the demo checkpoint's tokenizer.

    The engine makes so many tokens a second and sends what waits of a request as one response, as
    the reference engine does; or, where that is 0, sends each by itself, as fast as they go.
    """
    repository = COMMITTED.copy_to(destination)
    for model in ("preprocessing", "postprocessing"):
        repository.set_parameters(model, {"tokenizer_dir": str(CHECKPOINT)})
    config = repository.read("tensorrt_llm")
    config.parameters.clear()
    config.parameters["vocab_size"].string_value = str(vocab_size())
    config.parameters["tokens_per_second"].string_value = str(tokens_per_second)
    repository.write("tensorrt_llm", config)
    version = repository.path / "tensorrt_llm" / "1"
    shutil.copy(MODELS / "null_engine.py", version / "model.py")
    shutil.copy(MODELS.parent / "null_tokens.py", version)
    return repository


def stateless_repository(destination: Path, tokens_per_second: int = 0) -> ModelRepository:
    """Write the same with a postprocessing like NVIDIA's: no state, no order, the text alone."""
    repository = null_repository(destination, tokens_per_second)
    config = repository.read("postprocessing")
    config.dynamic_batching.preserve_ordering = False
    kept = ("TOKENS_BATCH", "SEQUENCE_LENGTH", "OUTPUT")
    for fields in (config.input, config.output):
        for field in [each for each in fields if each.name not in kept]:
            fields.remove(field)
    repository.write("postprocessing", config)
    ensemble = repository.read("ensemble")
    _, engine, step = ensemble.ensemble_scheduling.step
    for key in [each for each in step.input_map if each not in kept]:
        tensor = step.input_map.pop(key)
        if tensor not in {each.name for each in ensemble.output}:
            _drop_output(engine, tensor)
    for key in [each for each in step.output_map if each not in kept]:
        unknown = step.output_map.pop(key)
        for output in [each for each in ensemble.output if each.name == unknown]:
            ensemble.output.remove(output)
    repository.write("ensemble", ensemble)
    model = repository.path / "postprocessing" / "1" / "model.py"
    shutil.copy(MODELS / "stateless_postprocessing.py", model)
    return repository


def _drop_output(step: Any, tensor: str) -> None:
    """Let no output of a step be a tensor that nothing reads."""
    for name in [each for each in step.output_map if step.output_map[each] == tensor]:
        del step.output_map[name]
