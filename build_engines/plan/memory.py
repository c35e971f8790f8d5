"""What one tensor parallel rank keeps in GPU memory.

The formulas restate how TensorRT-LLM lays a decoder out (NVIDIA/TensorRT-LLM,
docs/source/legacy/architecture/checkpoint.md and docs/source/legacy/reference/memory.md).
Memory is in bytes throughout.
"""

from dataclasses import dataclass
from math import ceil

from build_engines.plan.gpus import GIB
from catalog import EnginePlan, Shape
from catalog.schema import Architecture, KVCacheDtype, Quantization

LINEAR_BITS: dict[Quantization, int] = {"none": 16, "int8": 8, "int4": 4, "fp8": 8, "int4_awq": 4}
"""Bits of a linear layer's weight; embedding, head and norms keep 16."""
KV_CACHE_FRACTION = 0.9
"""Share of the memory left after loading that becomes KV cache; TensorRT-LLM's own default."""
RESERVED_BYTES = GIB
"""CUDA context, NCCL and decoder buffers."""
TOKENS_PER_BLOCK = 32
"""KV cache is handed out in blocks; the default of `trtllm-build --tokens_per_block`."""
HOST_MEMORY_FACTOR = 2.5
"""Peak host memory of a build over the rank's checkpoint; a log of an 8B build shows 38.5 GiB
for 15 GiB of weights."""


@dataclass(frozen=True, slots=True)
class RankParameters:
    """How many weights one rank holds."""

    linear: int
    """In the layers' matrices, which quantization makes smaller."""
    other: int
    """In embedding, head and norms, which it leaves alone."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.linear + self.other


def kv_heads_per_rank(shape: Shape, tp_size: int) -> int:
    """KV heads on one rank; where there are fewer than ranks, ranks hold copies."""
    return max(1, shape.num_key_value_heads // tp_size)


def rank_parameters(shape: Shape, architecture: Architecture, tp_size: int) -> RankParameters:
    """Count the elements of one rank's checkpoint file.

    Per layer, with h hidden, H heads, K KV heads on the rank, d head size, F intermediate:
    qkv (H/tp + 2K) d h, attention output h H d / tp, gated MLP 3 h F / tp. The embedding is
    whole on every rank, the head split over its vocabulary padded to a multiple of tp.
    """
    hidden = shape.hidden_size
    query_rows = shape.num_attention_heads // tp_size * shape.head_dim
    kv_rows = kv_heads_per_rank(shape, tp_size) * shape.head_dim
    attention = (query_rows + 2 * kv_rows) * hidden + hidden * query_rows
    mlp = 3 * hidden * (shape.intermediate_size // tp_size)
    norm = hidden * (2 if architecture == "StableLmForCausalLM" else 1)  # LayerNorm has a bias
    embedding_and_head = (shape.vocab_size + ceil(shape.vocab_size / tp_size)) * hidden
    return RankParameters(
        linear=shape.num_hidden_layers * (attention + mlp),
        other=embedding_and_head + (2 * shape.num_hidden_layers + 1) * norm,
    )


def weight_bytes(parameters: RankParameters, quantization: Quantization) -> int:
    """Size of a rank's weights in the engine; scales of quantized layers are not counted."""
    return parameters.linear * LINEAR_BITS[quantization] // 8 + parameters.other * 2


def kv_bytes_per_token(shape: Shape, tp_size: int, kv_cache_dtype: KVCacheDtype) -> int:
    """Keys and values of one token on one rank: 2 x layers x KV heads x head size x element."""
    element = 1 if kv_cache_dtype == "fp8" else 2
    heads = kv_heads_per_rank(shape, tp_size)
    return 2 * shape.num_hidden_layers * heads * shape.head_dim * element


def activation_bytes(shape: Shape, plan: EnginePlan) -> int:
    """Upper estimate of one step's 16-bit activations on one rank.

    T (3F/tp + (H + 2K) d / tp + 4h) x 2, with T tokens a step: the MLP's three intermediates,
    q, k and v, and four buffers of the hidden size.
    """
    heads = shape.num_attention_heads + 2 * shape.num_key_value_heads
    split = 3 * shape.intermediate_size + heads * shape.head_dim
    return plan.max_num_tokens * (split // plan.tp_size + 4 * shape.hidden_size) * 2


def context_logits_bytes(shape: Shape, plan: EnginePlan) -> int:
    """Logits of a step's prompt tokens, where they are kept: tokens x padded vocabulary x 4.

    Each rank has all of them in 32 bits (NVIDIA/TensorRT-LLM,
    cpp/tensorrt_llm/batch_manager/runtimeBuffers.cpp).
    """
    if not plan.gather_context_logits:
        return 0
    padded = ceil(shape.vocab_size / plan.tp_size) * plan.tp_size
    return (plan.max_num_tokens + plan.max_batch_size * plan.max_beam_width) * padded * 4


def kv_tokens(free_bytes: int, bytes_per_token: int) -> int:
    """Tokens, in whole blocks, of a KV cache that takes its share of `free_bytes`."""
    tokens = int(KV_CACHE_FRACTION * max(0, free_bytes)) // bytes_per_token
    return tokens // TOKENS_PER_BLOCK * TOKENS_PER_BLOCK
