"""Small checkpoints that can be served in the place of the catalog's models."""

import json
from collections.abc import Callable
from pathlib import Path

from catalog import ModelEntry
from demo.export import CHECKPOINT
from support.checkpoints import make_mistral, make_stablelm
from support.tokenizers_for_tests import save_byte_level_bpe

MAKERS: dict[str, Callable[[Path], Path]] = {
    "StableLmForCausalLM": make_stablelm,
    "MistralForCausalLM": make_mistral,
}


def make_checkpoint(directory: Path, model: ModelEntry) -> Path:
    """Return a small checkpoint of the model's architecture with the positions of its plan."""
    if model.architecture == "LlamaForCausalLM":
        return CHECKPOINT
    MAKERS[model.architecture](directory)
    save_byte_level_bpe(directory)
    path = directory / "config.json"
    config = {**json.loads(path.read_text()), "max_position_embeddings": model.engine.max_seq_len}
    path.write_text(json.dumps(config))
    return directory
