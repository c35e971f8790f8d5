"""config.json means here what it means to transformers, whatever an older file leaves out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reference_engine.model.checkpoint import CheckpointError, read_model_config
from reference_engine.model.model_config import ModelConfig
from reference_engine.model.rotary import rotary_tables

SIZES = {
    "vocab_size": 320,
    "hidden_size": 256,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama, least": {"model_type": "llama"},
    "llama without key heads": {"model_type": "llama", "num_key_value_heads": None},
    "llama with all": {
        "model_type": "llama",
        "rms_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 48,
        "tie_word_embeddings": True,
        "rope_theta": 5e5,
        "sliding_window": 16,
    },
    "llama, linear, as transformers 4 wrote it": {
        "model_type": "llama",
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
    "llama 3.1": {
        "model_type": "llama",
        "rope_theta": 5e5,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "llama, yarn": {
        "model_type": "llama",
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "mistral, least": {"model_type": "mistral"},
    "mistral without a window": {"model_type": "mistral", "sliding_window": None},
    "mistral with a window": {"model_type": "mistral", "sliding_window": 16, "head_dim": 32},
    "stablelm, least": {"model_type": "stablelm"},
    "stablelm with all": {
        "model_type": "stablelm",
        "layer_norm_eps": 1e-6,
        "partial_rotary_factor": 0.5,
        "use_qkv_bias": True,
        "qk_layernorm": True,
        "use_parallel_residual": True,
        "rope_theta": 1e6,
    },
}
PROMPT_LENGTH = 40


def write(directory: Path, **fields: Any) -> Path:
    (directory / "config.json").write_text(json.dumps(SIZES | fields))
    return directory


def of_transformers(directory: Path) -> ModelConfig:
    """Read the same off transformers' configuration, with its defaults."""
    config = AutoConfig.from_pretrained(directory)

    def get(name: str, default: Any = False) -> Any:
        return getattr(config, name, default)

    is_llama = config.model_type == "llama"
    return ModelConfig(
        architecture=config.model_type,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=get("head_dim", None) or config.hidden_size // config.num_attention_heads,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        norm_epsilon=get("rms_norm_eps", None) or get("layer_norm_eps"),
        rope_parameters=config.rope_parameters,
        activation=config.hidden_act,
        sliding_window=None if is_llama else get("sliding_window", None),
        has_query_key_value_bias=get("attention_bias") or get("use_qkv_bias"),
        has_attention_output_bias=get("attention_bias"),
        has_mlp_bias=get("mlp_bias"),
        has_head_norms=get("qk_layernorm"),
        is_parallel=get("use_parallel_residual"),
        is_tied=config.tie_word_embeddings,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_read_as_transformers_reads_it(tmp_path: Path, name: str) -> None:
    directory = write(tmp_path, **CONFIGS[name])
    ours, theirs = read_model_config(directory), of_transformers(directory)
    for field in ModelConfig.__dataclass_fields__:
        found, expected = getattr(ours, field), getattr(theirs, field)
        if field == "rope_parameters":
            # transformers copies the longest sequence of the training into it where it is absent.
            found = {key: found[key] for key in expected if key in found}
            expected = {key: expected[key] for key in found}
            assert {"rope_type", "rope_theta"} <= found.keys()
        assert found == expected, field


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rotary_embedding_has_the_bits_of_transformers(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    directory = write(tmp_path, **CONFIGS[name])
    with torch.device("cpu"), torch.inference_mode():
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
        expected = model.model.rotary_emb(
            torch.zeros(1, dtype=dtype), torch.arange(PROMPT_LENGTH)[None]
        )
        cos, sin = rotary_tables(
            read_model_config(directory), PROMPT_LENGTH, dtype, torch.device("cpu")
        )
    assert torch.equal(cos[:, 0], expected[0][0])
    half = sin.shape[-1] // 2
    assert torch.equal(torch.cat((-sin[:, 0, :half], sin[:, 0, half:]), -1), expected[1][0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"hidden_size": None}, "hidden_size is None; it must be a positive integer"),
        ({"vocab_size": "320"}, "vocab_size is '320'"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small'; it must be a positive number"),
        ({"mlp_bias": 1}, "mlp_bias is 1; it must be true or false"),
        ({"rope_theta": "10k"}, "rope_theta is '10k'"),
        ({"rope_scaling": "linear"}, "rope_parameters is 'linear', not an object"),
        ({"rope_scaling": {"rope_type": ["yarn"]}}, "rotary type"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized by AWQ"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    directory = write(tmp_path, model_type="llama", **fields)
    with pytest.raises(CheckpointError, match=text) as refusal:
        read_model_config(directory)
    assert str(directory) in str(refusal.value)


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_what_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read_model_config(tmp_path)


def test_the_engine_does_without_transformers() -> None:
    """Importing it takes longer than the rest of a start."""
    program = "import sys, reference_engine.engine; print('transformers' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
