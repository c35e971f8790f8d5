"""From a Hugging Face config.json to TensorRT-LLM's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from build_engines.checkpoint.huggingface_config import CheckpointError, HuggingFaceConfig
from build_engines.checkpoint.quantization import QUANT_ALGORITHMS
from build_engines.checkpoint.rotary import express_partial_rotary, llama3_scaling
from build_engines.checkpoint.trtllm_config import (
    TENSORRT_LLM_ARCHITECTURES,
    TrtllmConfig,
    TrtllmConfigError,
    parse_trtllm_config,
)
from catalog.schema import Architecture

CONVERTIBLE_QUANTIZATIONS: dict[str, str | None] = {
    name: algorithm
    for name, algorithm in QUANT_ALGORITHMS.items()
    if name not in ("fp8", "int4_awq")
}
"""Those that trtllm-build carries out itself, from plain weights."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The config of the checkpoint to write, and what its weights need beyond it."""

    config: TrtllmConfig
    rotary_lanes: tuple[range, ...] | None
    """The order in which the lanes of a query or key head are stored; None keeps it."""


def translate(
    source: HuggingFaceConfig,
    *,
    tp_size: int,
    dtype: str,
    quantization: str,
    use_parallel_embedding: bool,
) -> Translation:
    """Describe `source` as one of TensorRT-LLM's classes, split over `tp_size` ranks.

    Raises:
        CheckpointError: no class of TensorRT-LLM computes what the source does, or the ranks,
            the type or the quantization do not fit it.
    """
    if source.architecture not in _ARCHITECTURES:
        raise CheckpointError(
            f"architecture {source.architecture} cannot be converted; these can: "
            + ", ".join(_ARCHITECTURES)
        )
    if quantization not in CONVERTIBLE_QUANTIZATIONS:
        raise CheckpointError(
            f"a {source.architecture} cannot be converted with quantization '{quantization}', but "
            f"with {', '.join(CONVERTIBLE_QUANTIZATIONS)}; the others need the calibration of "
            "NVIDIA's ModelOpt, which knows Llama and Mistral but not StableLM"
        )
    fields, rotary_lanes = _ARCHITECTURES[source.architecture](source)
    common = {
        "architecture": TENSORRT_LLM_ARCHITECTURES[source.architecture],
        "dtype": dtype,
        "vocab_size": source.vocab_size,
        "hidden_size": source.hidden_size,
        "num_hidden_layers": source.num_hidden_layers,
        "num_attention_heads": source.num_attention_heads,
        "num_key_value_heads": source.num_key_value_heads,
        "head_size": source.head_dim,
        "intermediate_size": source.intermediate_size,
        "norm_epsilon": source.norm_eps,
        "max_position_embeddings": source.max_position_embeddings,
        "position_embedding_type": "rope_gpt_neox",
        "use_parallel_embedding": use_parallel_embedding,
        "mapping": {"world_size": tp_size, "tp_size": tp_size},
        "quantization": {"quant_algo": CONVERTIBLE_QUANTIZATIONS[quantization]},
    }
    try:
        return Translation(parse_trtllm_config(common | fields), rotary_lanes)
    except TrtllmConfigError as error:
        raise CheckpointError(f"the checkpoint cannot be converted like this: {error}") from error


def _llama(source: HuggingFaceConfig) -> tuple[dict[str, Any], None]:
    if source.rotary_dim != source.head_dim:
        raise CheckpointError(
            f"rotates {source.rotary_dim} of {source.head_dim} lanes, but TensorRT-LLM's "
            "LLaMAForCausalLM always rotates all"
        )
    return {
        "hidden_act": "silu",
        "rotary_base": source.rope_theta,
        "rotary_scaling": _rotary_scaling(source),
    }, None


def _rotary_scaling(source: HuggingFaceConfig) -> dict[str, int | float | str] | None:
    rope = source.rope_parameters
    match rope["rope_type"]:
        case "default":
            return None
        case "llama3":
            length = rope.get("original_max_position_embeddings", source.max_position_embeddings)
            try:
                return llama3_scaling(
                    rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"], length
                )
            except KeyError as error:
                raise CheckpointError(f"rope scaling of type llama3 without {error}") from error
        case other:
            raise CheckpointError(
                f"rope scaling of type '{other}' cannot be converted; default and llama3 can"
            )


def _stablelm(source: HuggingFaceConfig) -> tuple[dict[str, Any], tuple[range, ...]]:
    """TensorRT-LLM has no StableLM; its GPT with these switches computes the same."""
    if source.rope_parameters["rope_type"] != "default":
        raise CheckpointError("StableLM with rope scaling cannot be converted")
    rotary = express_partial_rotary(source.head_dim, source.rotary_dim, source.rope_theta)
    return {
        "hidden_act": "swiglu",
        "bias": False,
        "rotary_pct": rotary.width / source.head_dim,
        "rotary_embedding_dim": rotary.width,
        "rotary_base": rotary.base,
        "rotary_scaling": rotary.scaling,
    }, rotary.lanes


_Fields = tuple[dict[str, Any], tuple[range, ...] | None]
_ARCHITECTURES: dict[Architecture, Callable[[HuggingFaceConfig], _Fields]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _llama,
    "StableLmForCausalLM": _stablelm,
}
