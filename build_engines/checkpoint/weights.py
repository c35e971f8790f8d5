"""Which Hugging Face tensors make up which TensorRT-LLM tensor, and how it is split.

Names of NVIDIA/TensorRT-LLM, tensorrt_llm/models/llama/model.py and models/gpt/model.py; those of
one layer are preceded by LAYER_PREFIX in TensorRT-LLM and SOURCE_LAYER_PREFIX in transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from build_engines.checkpoint.split import (
    Split,
    column_parallel,
    embedding,
    fused_qkv,
    replicated,
    row_parallel,
    vocabulary_parallel,
)

Dimension = Literal["hidden", "intermediate", "query", "key_value", "vocabulary"]

LAYER_PREFIX = "transformer.layers.{layer}."
SOURCE_LAYER_PREFIX = "model.layers.{layer}."


@dataclass(frozen=True, slots=True)
class Weight:
    """One TensorRT-LLM tensor: its sources' names and shapes, in order, and its split."""

    name: str
    split: Split
    sources: Mapping[str, tuple[Dimension, ...]]


@dataclass(frozen=True, slots=True)
class WeightTable:
    """The tensors of a TensorRT-LLM class: each layer's, and those that exist once."""

    layer: tuple[Weight, ...]
    top: tuple[Weight, ...]


LLAMA = WeightTable(
    layer=(
        Weight("input_layernorm.weight", replicated, {"input_layernorm.weight": ("hidden",)}),
        Weight(
            "attention.qkv.weight",
            fused_qkv,
            {
                "self_attn.q_proj.weight": ("query", "hidden"),
                "self_attn.k_proj.weight": ("key_value", "hidden"),
                "self_attn.v_proj.weight": ("key_value", "hidden"),
            },
        ),
        Weight(
            "attention.dense.weight", row_parallel, {"self_attn.o_proj.weight": ("hidden", "query")}
        ),
        Weight(
            "post_layernorm.weight", replicated, {"post_attention_layernorm.weight": ("hidden",)}
        ),
        # What goes through SiLU is `fc`, and what multiplies it is `gate`.
        Weight(
            "mlp.fc.weight", column_parallel, {"mlp.gate_proj.weight": ("intermediate", "hidden")}
        ),
        Weight(
            "mlp.gate.weight", column_parallel, {"mlp.up_proj.weight": ("intermediate", "hidden")}
        ),
        Weight(
            "mlp.proj.weight", row_parallel, {"mlp.down_proj.weight": ("hidden", "intermediate")}
        ),
    ),
    top=(
        Weight(
            "transformer.vocab_embedding.weight",
            embedding,
            {"model.embed_tokens.weight": ("vocabulary", "hidden")},
        ),
        Weight("transformer.ln_f.weight", replicated, {"model.norm.weight": ("hidden",)}),
        Weight("lm_head.weight", vocabulary_parallel, {"lm_head.weight": ("vocabulary", "hidden")}),
    ),
)

# The GPT class normalizes with LayerNorm, whose biases it always has.
GPT = WeightTable(
    layer=(
        *LLAMA.layer,
        Weight("input_layernorm.bias", replicated, {"input_layernorm.bias": ("hidden",)}),
        Weight("post_layernorm.bias", replicated, {"post_attention_layernorm.bias": ("hidden",)}),
    ),
    top=(
        *LLAMA.top,
        Weight("transformer.ln_f.bias", replicated, {"model.norm.bias": ("hidden",)}),
    ),
)

TABLES = {"LlamaForCausalLM": LLAMA, "MistralForCausalLM": LLAMA, "GPTForCausalLM": GPT}
"""By TensorRT-LLM's architecture."""
