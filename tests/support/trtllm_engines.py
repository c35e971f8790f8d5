"""Engine and checkpoint directories of the served models, without weights."""

import json
import shutil
from pathlib import Path

from build_engines.checkpoint.convert import plan_conversion
from build_engines.checkpoint.manifest import Conversion
from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED
from catalog import EnginePlan, ModelEntry


def make_source(directory: Path, model: ModelEntry) -> Path:
    """Write what a Hugging Face checkpoint of the model has beside its weights."""
    stablelm = model.architecture == "StableLmForCausalLM"
    config = {
        **model.shape.model_dump(),
        "architectures": [model.architecture],
        "layer_norm_eps" if stablelm else "rms_norm_eps": 1e-5,
    }
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "generation_config.json").write_text(
        json.dumps({"eos_token_id": model.eos_token_ids})
    )
    (directory / "tokenizer.json").write_text("{}")
    (directory / "tokenizer_config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def make_engine(directory: Path, model: ModelEntry, plan: EnginePlan, source: Path) -> Path:
    """Write an engine directory as trtllm-build would, the plans themselves being empty."""
    pretrained, _ = plan_conversion(
        source,
        Conversion(
            model=model.name,
            architecture=model.architecture,
            tp_size=plan.tp_size,
            dtype=plan.dtype,
            quantization=plan.quantization,
            use_parallel_embedding=False,
        ),
    )
    limits = plan.model_dump(
        include={"max_batch_size", "max_beam_width", "max_seq_len", "max_num_tokens"}
    )
    config = {
        "version": "1.2.1",
        "pretrained_config": pretrained.model_dump(),
        "build_config": {
            **limits,
            "kv_cache_type": "PAGED",
            "plugin_config": {"remove_input_padding": True, "use_paged_context_fmha": True},
        },
    }
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    for rank in range(plan.tp_size):
        (directory / f"rank{rank}.engine").touch()
    return directory


def use_reference_engine(deployment: ModelRepository, checkpoint: Path) -> None:
    """Exchange the C++ backend of a deployment for the reference engine, and nothing else."""
    committed, config = COMMITTED.read("tensorrt_llm"), deployment.read("tensorrt_llm")
    config.backend = committed.backend
    for name in committed.parameters.keys() - config.parameters.keys():
        config.parameters[name].CopyFrom(committed.parameters[name])
    config.parameters["checkpoint_dir"].string_value = str(checkpoint)
    deployment.write("tensorrt_llm", config)
    model = Path("tensorrt_llm", "1", "model.py")
    shutil.copyfile(COMMITTED.path / model, deployment.path / model)
