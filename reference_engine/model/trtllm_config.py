"""A converted TensorRT-LLM checkpoint's config.json as the transformers configuration it means.

The reverse of what build_engines writes. Names and rules: NVIDIA/TensorRT-LLM,
tensorrt_llm/models/modeling_utils.py, models/llama/config.py, models/gpt/config.py.
"""

from typing import Any

from transformers import LlamaConfig, MistralConfig, PreTrainedConfig, StableLmConfig


def is_converted(content: dict[str, Any]) -> bool:
    """Whether a config.json is TensorRT-LLM's: only that tells how the ranks share the model."""
    return "mapping" in content


def huggingface_config(content: dict[str, Any]) -> PreTrainedConfig:
    """Return the configuration of the transformers model that computes the same.

    A sliding window is not in TensorRT-LLM's config.json, so none is in the result.

    Raises:
        ValueError: the class or a field of it is none that is written here.
        KeyError: a field is missing.
    """
    if content["quantization"].get("quant_algo"):
        raise ValueError(
            f"quantization {content['quantization']['quant_algo']} cannot be served by the"
            " reference engine; convert without one"
        )
    architecture = content["architecture"]
    rope = _rope_parameters(content)
    fields = {
        name: content[name]
        for name in (
            *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
            *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
        )
    }
    epsilon, head_dim = content["norm_epsilon"], content["head_size"]
    match architecture:
        case "LlamaForCausalLM":
            return LlamaConfig(
                **fields, head_dim=head_dim, rms_norm_eps=epsilon, rope_parameters=rope
            )
        case "MistralForCausalLM":
            return MistralConfig(
                **fields,
                head_dim=head_dim,
                rms_norm_eps=epsilon,
                rope_parameters=rope,
                sliding_window=None,
            )
        case "GPTForCausalLM" if content["hidden_act"] == "swiglu" and not content["bias"]:
            # What build_engines makes of StableLM, with the rotary lanes in another order.
            rope["partial_rotary_factor"] = content["rotary_pct"]
            return StableLmConfig(**fields, layer_norm_eps=epsilon, rope_parameters=rope)
    raise ValueError(
        f"architecture {architecture!r} with these fields is none that build_engines converts to"
    )


def _rope_parameters(content: dict[str, Any]) -> dict[str, Any]:
    scaling = content["rotary_scaling"] or {"rope_type": "default"}
    kept = {name: value for name, value in scaling.items() if name != "type"}
    return {**kept, "rope_theta": content["rotary_base"]}
