"""Checkpoints of any size whose weights are zeros that take no room on disk."""

import json
import math
from pathlib import Path
from typing import Any

from build_engines.checkpoint.convert import plan_conversion
from build_engines.checkpoint.manifest import Conversion
from catalog import ModelEntry


def conversion_of(model: ModelEntry, **changes: Any) -> Conversion:
    fields = {
        "model": model.name,
        "architecture": model.architecture,
        "tp_size": model.engine.tp_size,
        "dtype": model.engine.dtype,
        "quantization": "none",
        "use_parallel_embedding": False,
    }
    return Conversion(**(fields | changes))


def make_sparse_checkpoint(
    directory: Path, model: ModelEntry, huggingface_config: dict[str, Any]
) -> Path:
    """Write config.json and a bfloat16 model.safetensors that is a hole behind its header."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(huggingface_config))
    _, layout = plan_conversion(directory, conversion_of(model, tp_size=1))
    header, position = {}, 0
    for name, shape in layout.sources.items():
        end = position + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + position)
    return directory
