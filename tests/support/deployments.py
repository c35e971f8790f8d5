"""Deployments of engines that exist only as descriptions."""

import json
from pathlib import Path
from typing import Any

from build_engines.checkpoint.engine_config import EngineConfig
from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.deployment import Deployment, Engine


def engine_json(world_size: int, **pretrained: Any) -> dict[str, Any]:
    """The config.json of a small Llama engine."""
    return {
        "version": "1.2.1",
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": "float16",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_size": 16,
            "intermediate_size": 128,
            "vocab_size": 512,
            "max_position_embeddings": 512,
            "mapping": {"world_size": world_size, "tp_size": world_size},
            **pretrained,
        },
        "build_config": {
            "max_batch_size": 4,
            "max_beam_width": 1,
            "max_seq_len": 512,
            "max_num_tokens": 512,
            "kv_cache_type": "PAGED",
            "plugin_config": {"remove_input_padding": True, "use_paged_context_fmha": True},
        },
    }


def write_engine(directory: Path, world_size: int, **pretrained: Any) -> Path:
    """Write an engine without its rank files."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(engine_json(world_size, **pretrained)))
    return directory


def deployment(
    *world_sizes: int, directory: Path = Path("/engine"), **pretrained: Any
) -> Deployment:
    """Engines of so many ranks; the first is called `tensorrt_llm`."""
    engines = []
    for number, world_size in enumerate(world_sizes):
        config = EngineConfig.model_validate(engine_json(world_size, **pretrained))
        engines.append(Engine(f"{number or ''}tensorrt_llm", directory, config, on_gpus=True))
    return Deployment(ModelRepository(COMMITTED.path), tuple(engines))
