"""The rotary embedding: an angle for each position and pair of lanes."""

from typing import Any

import torch

from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.model_config import ModelConfig


def rotary_tables(
    config: ModelConfig, length: int, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines [length, 1, rotary lanes].

    The sines of the first half are negative: x * cos + swapped(x) * sin rotates.

    Raises:
        CheckpointError: the parameters of a scaled embedding are missing or wrong.
    """
    frequencies, scale = _frequencies(config)
    positions = torch.arange(length, dtype=torch.float32, device=device)
    angles = positions[:, None, None] * frequencies.to(device)
    cos, sin = ((each * scale).to(dtype) for each in (angles.cos(), angles.sin()))
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def _frequencies(config: ModelConfig) -> tuple[torch.Tensor, float]:
    """Return float32 [rotary lanes / 2], and a factor of all cosines and sines."""
    rope = config.rope_parameters
    if rope["rope_type"] != "default":
        return _scaled_frequencies(config)
    lanes = int(config.head_dim * rope["partial_rotary_factor"])
    exponents = torch.arange(0, lanes, 2, dtype=torch.float32, device="cpu") / lanes
    return 1.0 / (rope["rope_theta"] ** exponents), 1.0


def _scaled_frequencies(config: ModelConfig) -> tuple[torch.Tensor, float]:
    # Only here: importing transformers takes longer than everything else of a start.
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = dict(config.rope_parameters)
    try:
        described = LlamaConfig(
            hidden_size=config.hidden_size,
            num_attention_heads=config.num_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            rope_parameters=rope,
        )
        frequencies: tuple[torch.Tensor, Any] = ROPE_INIT_FUNCTIONS[rope["rope_type"]](
            described, torch.device("cpu")
        )
    except Exception as error:  # whatever transformers raises on fields that are missing or wrong
        raise CheckpointError(
            f"rope_parameters {config.rope_parameters} cannot be used: {error!r}"
        ) from error
    return frequencies
