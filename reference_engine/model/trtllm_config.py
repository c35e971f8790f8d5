"""A TensorRT-LLM checkpoint's config.json as the transformers configuration it means.

The reverse of what build_engines writes. Names and rules: NVIDIA/TensorRT-LLM,
tensorrt_llm/models/modeling_utils.py, models/llama/config.py, models/gpt/config.py.
"""

from typing import TYPE_CHECKING, Any

from transformers import LlamaConfig, MistralConfig, PreTrainedConfig, StableLmConfig

if TYPE_CHECKING:
    from build_engines.checkpoint.trtllm_config import TrtllmConfig


def huggingface_config(config: "TrtllmConfig") -> PreTrainedConfig:
    """Return the configuration of the transformers model that computes the same.

    A sliding window is not in TensorRT-LLM's config.json, so none is in the result.

    Raises:
        ValueError: the weights or the cache are quantized.
    """
    quantization = config.quantization
    if algorithm := quantization.quant_algo or quantization.kv_cache_quant_algo:
        raise ValueError(
            f"quantization {algorithm} cannot be served by the reference engine; convert without"
            " one"
        )
    fields = {
        name: getattr(config, name)
        for name in (
            *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
            *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
        )
    }
    rope = _rope_parameters(config)
    if config.architecture == "GPTForCausalLM":
        # What build_engines makes of StableLM, with the rotary lanes in another order.
        rope["partial_rotary_factor"] = config.rotary_pct
        return StableLmConfig(**fields, layer_norm_eps=config.norm_epsilon, rope_parameters=rope)
    fields |= {
        "head_dim": config.head_size,
        "rms_norm_eps": config.norm_epsilon,
        "rope_parameters": rope,
    }
    if config.architecture == "MistralForCausalLM":
        return MistralConfig(**fields, sliding_window=None)
    return LlamaConfig(**fields)


def _rope_parameters(config: "TrtllmConfig") -> dict[str, Any]:
    scaling = dict(config.rotary_scaling or {"rope_type": "default"})
    scaling.setdefault("rope_type", scaling.get("type", "default"))
    scaling.pop("type", None)
    return {**scaling, "rope_theta": config.rotary_base}
