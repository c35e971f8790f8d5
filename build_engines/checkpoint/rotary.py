"""Rotary widths that TensorRT-LLM's kernels refuse, expressed in one that they take.

The kernels rotate a multiple of 16 lanes of a head (NVIDIA/TensorRT-LLM,
cpp/tensorrt_llm/kernels/unfusedAttentionKernels/unfusedAttentionKernels_2_template.h), StableLM 3B
rotates 20. So 32 are rotated, of which 12 by an angle that is zero to every precision: "llama3"
scaling divides the frequencies whose wavelength exceeds a threshold, and the threshold is put
between the live and the idle ones.
"""

import math
from dataclasses import dataclass

from build_engines.checkpoint.huggingface_config import CheckpointError

WIDTH_MULTIPLE = 16

# Wavelengths below ORIGINAL / HIGH_FREQ are left alone, those above ORIGINAL / LOW_FREQ are
# multiplied by FACTOR: an idle lane turns by 4e-13 at position 4095.
ORIGINAL_MAX_POSITION_EMBEDDINGS = 40000
LOW_FREQ_FACTOR = 1.0
HIGH_FREQ_FACTOR = 1.25
FACTOR = 1e12


@dataclass(frozen=True, slots=True)
class PartialRotary:
    """A partial rotation as TensorRT-LLM's GPTForCausalLM expects it."""

    width: int
    """Lanes that are rotated, idle ones included."""
    base: float
    scaling: dict[str, int | float | str] | None
    lanes: tuple[range, ...]
    """The order in which the lanes of a query or key head are stored."""


def express_partial_rotary(head_size: int, rotary_dim: int, theta: float) -> PartialRotary:
    """Find the rotation of a supported width that equals one of `rotary_dim` lanes.

    Lane i turns with lane i + rotary_dim / 2. In the wider rotation its partner is i + width / 2,
    so idle lanes move between the halves; scores do not change, for queries and keys move alike.
    The base is chosen so that the first frequencies stay what they were:
    base^(-2i / width) = theta^(-2i / rotary_dim).

    Raises:
        CheckpointError: the head is too small, or no threshold separates live from idle.
    """
    width = -(-rotary_dim // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    if width == rotary_dim:
        return PartialRotary(width, theta, None, (range(head_size),))
    longest_live = 2 * math.pi * theta ** ((rotary_dim - 2) / rotary_dim)
    shortest_idle = 2 * math.pi * theta
    if (
        width > head_size
        or longest_live >= ORIGINAL_MAX_POSITION_EMBEDDINGS / HIGH_FREQ_FACTOR
        or shortest_idle <= ORIGINAL_MAX_POSITION_EMBEDDINGS / LOW_FREQ_FACTOR
    ):
        raise CheckpointError(
            f"{rotary_dim} rotary lanes of {head_size} with rope_theta {theta:g} cannot be "
            f"expressed for TensorRT-LLM, whose kernels rotate multiples of {WIDTH_MULTIPLE}"
        )
    half, idle = rotary_dim // 2, (width - rotary_dim) // 2
    return PartialRotary(
        width=width,
        base=theta ** (width / rotary_dim),
        scaling=llama3_scaling(
            FACTOR, LOW_FREQ_FACTOR, HIGH_FREQ_FACTOR, ORIGINAL_MAX_POSITION_EMBEDDINGS
        ),
        lanes=(
            range(half),
            range(rotary_dim, rotary_dim + idle),
            range(half, rotary_dim),
            range(rotary_dim + idle, head_size),
        ),
    )


def llama3_scaling(
    factor: float, low_freq_factor: float, high_freq_factor: float, original_length: int
) -> dict[str, int | float | str]:
    """TensorRT-LLM's `rotary_scaling` of type llama3, its type under both names in use."""
    return {
        "type": "llama3",
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low_freq_factor,
        "high_freq_factor": high_freq_factor,
        "original_max_position_embeddings": original_length,
    }
