"""A TensorRT-LLM checkpoint's config.json as the model that it means.

The reverse of what build_engines writes. Names and rules: NVIDIA/TensorRT-LLM,
tensorrt_llm/models/modeling_utils.py, models/llama/config.py, models/gpt/config.py.
"""

from typing import TYPE_CHECKING, Any

from reference_engine.model.model_config import LLAMA, MISTRAL, STABLELM, ModelConfig

if TYPE_CHECKING:
    from build_engines.checkpoint.trtllm_config import TrtllmConfig

_ARCHITECTURES = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": MISTRAL,
    # What build_engines makes of StableLM, with the rotary lanes in another order.
    "GPTForCausalLM": STABLELM,
}


def converted_model_config(config: "TrtllmConfig") -> ModelConfig:
    """Return the model that transformers would compute alike.

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
    return ModelConfig(
        architecture=_ARCHITECTURES[config.architecture],
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=config.head_size,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        norm_epsilon=config.norm_epsilon,
        rope_parameters=_rope_parameters(config),
        num_ranks=config.mapping.tp_size,
    )


def _rope_parameters(config: "TrtllmConfig") -> dict[str, Any]:
    scaling = dict(config.rotary_scaling or {"rope_type": "default"})
    scaling.setdefault("rope_type", scaling.get("type", "default"))
    scaling.pop("type", None)
    return {
        **scaling,
        "rope_theta": config.rotary_base,
        "partial_rotary_factor": config.rotary_pct,
    }
