"""Which part of each weight is a rank's own.

The rules of NVIDIA/TensorRT-LLM, tensorrt_llm/layers/{attention,linear,embedding}.py, on the names
that the parameters of a transformers model have.
"""

from dataclasses import dataclass, replace

from reference_engine.model.model_config import ModelConfig
from reference_engine.model.weights import Region


@dataclass(frozen=True, slots=True)
class Rank:
    """One of `size` ranks."""

    index: int
    size: int

    def part(self, count: int) -> slice:
        """Its equal part of `count`, rounded up; the last rank's may be shorter."""
        each = -(-count // self.size)
        return slice(min(self.index * each, count), min((self.index + 1) * each, count))

    def heads(self, count: int) -> slice:
        """Its part of the heads; with fewer heads than ranks, neighbouring ranks share one."""
        first = self.index * count // self.size
        return slice(first, first + max(1, count // self.size))


def own_config(model: ModelConfig, rank: Rank) -> ModelConfig:
    """Return the model with the heads that are a rank's own."""
    heads, kv_heads = rank.heads(model.num_heads), rank.heads(model.num_kv_heads)
    return replace(
        model,
        num_heads=heads.stop - heads.start,
        num_kv_heads=kv_heads.stop - kv_heads.start,
    )


def check_divisible(model: ModelConfig, size: int) -> None:
    """Refuse a number of ranks that does not divide the model.

    Raises:
        ValueError: a dimension is not a multiple of it; the text names the dimension.
    """
    divided = {
        "num_attention_heads": model.num_heads,
        "intermediate_size": model.intermediate_size,
    }
    for field, count in divided.items():
        if count % size:
            raise ValueError(f"tensor_parallel_size {size} does not divide {field} {count}")
    kv_heads = model.num_kv_heads
    if kv_heads % size and size % kv_heads:
        raise ValueError(
            f"tensor_parallel_size {size} neither divides num_key_value_heads {kv_heads}"
            " nor is a multiple of it"
        )


def region_of(name: str, shape: tuple[int, ...], model: ModelConfig, rank: Rank) -> Region | None:
    """Return the rank's region of the parameter `name`; none if another rank has all of it.

    Args:
        name: as transformers names it, such as `model.layers.0.mlp.up_proj.weight`.
        shape: of the whole parameter; projections are [outputs, inputs].
        model: the whole one.
        rank: whose region.
    """
    match name.split("."):
        case [*_, "q_proj", _]:
            return (_rows(shape[0], model.num_heads, rank),)
        case [*_, "k_proj" | "v_proj", _]:
            return (_rows(shape[0], model.num_kv_heads, rank),)
        case [*_, "gate_proj" | "up_proj" | "lm_head", _]:
            return (rank.part(shape[0]),)
        case [*_, "o_proj" | "down_proj", "weight"]:
            return (slice(0, shape[0]), rank.part(shape[1]))
        case [*_, "o_proj" | "down_proj", "bias"] if rank.index:  # to be added once
            return None
        case [*_, "q_layernorm", "norms", head, _] if not _has(rank, head, model.num_heads):
            return None
        case [*_, "k_layernorm", "norms", head, _] if not _has(rank, head, model.num_kv_heads):
            return None
    return (slice(0, shape[0]),)


def _rows(count: int, heads: int, rank: Rank) -> slice:
    size, own = count // heads, rank.heads(heads)
    return slice(own.start * size, own.stop * size)


def _has(rank: Rank, head: str, heads: int) -> bool:
    own = rank.heads(heads)
    return int(head) in range(own.start, own.stop)
