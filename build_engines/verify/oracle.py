"""What TensorRT-LLM computes from a checkpoint directory, restated in PyTorch.

Shares nothing with the conversion: it reads rank files by TensorRT-LLM's rules, computes every
rank's part on its own and combines the parts as the all-reduce and all-gather plugins do. The
forward passes are those of NVIDIA/TensorRT-LLM, tensorrt_llm/models/llama/model.py and
models/gpt/model.py with layers/attention.py and layers/mlp.py; the rotary table that of
RopeEmbeddingUtils in functional.py. Quantized weights are dequantized; activations and the KV cache
are not quantized.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from build_engines.checkpoint.trtllm_config import GptConfig, TrtllmConfig, read_trtllm_config
from build_engines.verify.dequantize import read_matrix

ACTIVATIONS = {"silu": functional.silu, "swiglu": functional.silu}
"""By `hidden_act`: what the gated MLP applies to the output of `fc`."""


class Oracle:
    """A checkpoint directory, computed layer by layer; no more than one is in memory."""

    def __init__(self, config: TrtllmConfig, ranks: list[Any]) -> None:
        """Use `open_oracle`."""
        self.config = config
        self._ranks = ranks

    @torch.inference_mode()
    def logits(self, input_ids: Tensor, num_layers: int | None = None) -> Tensor:
        """Run the model over one sequence, in float32 on the device of `input_ids`.

        Args:
            input_ids: token ids, [tokens].
            num_layers: how many layers to run before the final norm; all of them if None.

        Returns:
            Logits of every position, [tokens, vocab_size].
        """
        config = self.config
        hidden = self._embed(input_ids)
        cos, sin = _rotary_table(config, len(input_ids), hidden.device)
        for layer in range(num_layers or config.num_hidden_layers):
            prefix = f"transformer.layers.{layer}."
            normed = self._norm(prefix + "input_layernorm", hidden)
            hidden = hidden + self._sum(
                self._attention(rank, prefix, normed, cos, sin) for rank in self._ranks
            )
            normed = self._norm(prefix + "post_layernorm", hidden)
            hidden = hidden + self._sum(self._mlp(rank, prefix, normed) for rank in self._ranks)
        normed = self._norm("transformer.ln_f", hidden)
        head = (read_matrix(rank, "lm_head.weight", hidden.device) for rank in self._ranks)
        gathered = torch.cat([normed @ weight.T for weight in head], dim=-1)
        return gathered[:, : config.vocab_size]

    def _embed(self, input_ids: Tensor) -> Tensor:
        """Look up the table; a rank with a part of it contributes zero for the other ids."""
        name = "transformer.vocab_embedding.weight"
        if not self.config.use_parallel_embedding:
            return read_matrix(self._ranks[0], name, input_ids.device)[input_ids]
        parts = []
        for index, rank in enumerate(self._ranks):
            table = read_matrix(rank, name, input_ids.device)
            local = input_ids - index * len(table)
            is_local = (local >= 0) & (local < len(table))
            parts.append(table[local.where(is_local, 0)] * is_local[:, None])
        return self._sum(iter(parts))

    def _norm(self, name: str, hidden: Tensor) -> Tensor:
        weight = read_matrix(self._ranks[0], f"{name}.weight", hidden.device)
        epsilon = self.config.norm_epsilon
        if isinstance(self.config, GptConfig):
            bias = read_matrix(self._ranks[0], f"{name}.bias", hidden.device)
            return functional.layer_norm(hidden, weight.shape, weight, bias, epsilon)
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + epsilon) * weight

    def _attention(
        self, rank: Any, prefix: str, hidden: Tensor, cos: Tensor, sin: Tensor
    ) -> Tensor:
        """One rank's heads: the fused matrix gives queries, then keys, then values."""
        config, head_size = self.config, self.config.head_size
        heads = config.num_attention_heads // len(self._ranks)
        kv_heads = -(-config.num_key_value_heads // len(self._ranks))
        qkv = hidden @ read_matrix(rank, prefix + "attention.qkv.weight", hidden.device).T
        by_head = qkv.view(len(hidden), heads + 2 * kv_heads, head_size).transpose(0, 1)
        query, key, value = torch.split(by_head, [heads, kv_heads, kv_heads])
        context = functional.scaled_dot_product_attention(
            _rotate(query, cos, sin)[None],
            _rotate(key, cos, sin).repeat_interleave(heads // kv_heads, dim=0)[None],
            value.repeat_interleave(heads // kv_heads, dim=0)[None],
            is_causal=True,
            scale=1 / math.sqrt(head_size),
        )
        merged = context[0].transpose(0, 1).reshape(len(hidden), heads * head_size)
        return merged @ read_matrix(rank, prefix + "attention.dense.weight", hidden.device).T

    def _mlp(self, rank: Any, prefix: str, hidden: Tensor) -> Tensor:
        fc, gate, proj = (
            read_matrix(rank, f"{prefix}mlp.{name}.weight", hidden.device)
            for name in ("fc", "gate", "proj")
        )
        activation = ACTIVATIONS[self.config.hidden_act]
        return (activation(hidden @ fc.T) * (hidden @ gate.T)) @ proj.T

    @staticmethod
    def _sum(parts: Iterator[Tensor]) -> Tensor:
        """Reduce over the ranks."""
        total = next(parts)
        for part in parts:
            total = total + part
        return total


@contextmanager
def open_oracle(directory: Path) -> Iterator[Oracle]:
    """Open the config and the rank files of a TensorRT-LLM checkpoint directory."""
    config = read_trtllm_config(directory)
    with ExitStack() as files:
        ranks = [
            files.enter_context(safe_open(directory / f"rank{rank}.safetensors", framework="pt"))
            for rank in range(config.mapping.world_size)
        ]
        yield Oracle(config, ranks)


def _rotary_table(
    config: TrtllmConfig, positions: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every angle, [positions, rotary_dim / 2] each."""
    rotary_dim = int(config.head_size * config.rotary_pct)
    exponent = torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim
    frequencies = torch.pow(config.rotary_base, -exponent)
    if config.rotary_scaling:
        frequencies = _scale_llama3(frequencies, config.rotary_scaling)
    # Angles are float32 products, as in the models these weights were trained with.
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies.float())
    return angles.cos().to(device), angles.sin().to(device)


def _scale_llama3(frequencies: Tensor, scaling: dict[str, Any]) -> Tensor:
    """Keep short wavelengths, stretch long ones by the factor, blend between."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    scaled: Tensor = frequencies * (kept + (1 - kept) / scaling["factor"])
    return scaled


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn lane i with lane i + rotary_dim / 2, in [heads, tokens, head_size]."""
    half = cos.shape[-1]
    first, second, rest = heads[..., :half], heads[..., half : 2 * half], heads[..., 2 * half :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)
