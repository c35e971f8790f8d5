"""Which part of each weight is a rank's own.

The rules of NVIDIA/TensorRT-LLM, tensorrt_llm/layers/{attention,linear,embedding}.py, on the names
that the parameters of a transformers model have.
"""

from dataclasses import dataclass

from transformers import PreTrainedConfig

Region = tuple[slice, ...]
"""The part of a tensor by dimension, as in `tensor[region]`."""


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


def check_divisible(config: PreTrainedConfig, size: int) -> None:
    """Refuse a number of ranks that does not divide the model.

    Raises:
        ValueError: a dimension is not a multiple of it; the text names the dimension.
    """
    for field in ("num_attention_heads", "intermediate_size"):
        if getattr(config, field) % size:
            raise ValueError(
                f"tensor_parallel_size {size} does not divide {field} {getattr(config, field)}"
            )
    kv_heads = config.num_key_value_heads
    if kv_heads % size and size % kv_heads:
        raise ValueError(
            f"tensor_parallel_size {size} neither divides num_key_value_heads {kv_heads}"
            " nor is a multiple of it"
        )


def region_of(
    name: str, shape: tuple[int, ...], config: PreTrainedConfig, rank: Rank
) -> Region | None:
    """Return the rank's region of the parameter `name`; none if another rank has all of it.

    Args:
        name: as transformers names it, such as `model.layers.0.mlp.up_proj.weight`.
        shape: of the whole parameter; projections are [outputs, inputs].
        config: of the whole model.
        rank: whose region.
    """
    module, kind = name.split(".")[-2:]
    match module, kind:
        case "q_proj", _:
            return (_rows(shape[0], config.num_attention_heads, rank),)
        case "k_proj" | "v_proj", _:
            return (_rows(shape[0], config.num_key_value_heads, rank),)
        case "gate_proj" | "up_proj" | "lm_head", _:
            return (rank.part(shape[0]),)
        case "o_proj" | "down_proj", "weight":
            return (slice(0, shape[0]), rank.part(shape[1]))
        case "o_proj" | "down_proj", "bias":  # to be added once
            return (slice(0, shape[0]),) if rank.index == 0 else None
    return (slice(0, shape[0]),)


def _rows(count: int, heads: int, rank: Rank) -> slice:
    size, own = count // heads, rank.heads(heads)
    return slice(own.start * size, own.stop * size)
