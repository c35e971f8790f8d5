"""The decoder that Llama, Mistral and StableLM share, over a flat list of tokens.

The same arithmetic as the transformers models (huggingface/transformers 5.23,
src/transformers/models/{llama,mistral,stablelm}), with the projections of a layer that read the
same input fused, and without a batch dimension: prompts and single tokens of many sequences go
through every projection side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from reference_engine.model.kv_cache import AttentionPlan, KVCache
from reference_engine.model.projection import Map, int8_projection, packed_projection


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    """Exchange nothing: a single rank has the whole model."""
    return tensor


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer as functions of [tokens, width]."""

    input_norm: Map
    query_key_value: Map
    head_norm: Map | None  # of queries and keys [tokens, heads + kv_heads, head_dim]
    attention_output: Map
    mlp_norm: Map | None  # none: attention and MLP stand side by side
    gate_up: Map
    down: Map


class Decoder:
    """Computes hidden states and logits from a transformers model's weights.

    Args:
        model: a transformers `LlamaForCausalLM`, `MistralForCausalLM` or `StableLmForCausalLM`;
            its layers are emptied on the way and every weight is copied, so that none is held
            twice, neither as another tensor nor as a page of the mapped file.
        max_seq_len: positions to prepare the rotary embedding for.
        all_reduce: from one rank's share of a projection's output to the sum of all ranks'.
        all_gather: from logits of one rank's part of the vocabulary to all, perhaps padded.
        has_int8_weights: whether the weights of projections are rounded to int8.
    """

    def __init__(
        self,
        model: Any,
        max_seq_len: int,
        all_reduce: Map = unchanged,
        all_gather: Map = unchanged,
        *,
        has_int8_weights: bool = False,
    ) -> None:
        projection = int8_projection if has_int8_weights else packed_projection
        config, body = model.config, model.model
        self.dtype: torch.dtype = model.dtype
        self._all_reduce, self._all_gather = all_reduce, all_gather
        self._vocab_size: int = config.vocab_size
        self._num_heads: int = config.num_attention_heads
        self._num_kv_heads: int = config.num_key_value_heads
        self._head_dim: int = body.layers[0].self_attn.head_dim
        self._embedding = body.embed_tokens.weight.clone()
        self._activation: Map = body.layers[0].mlp.act_fn
        self._layers = []
        for index in range(len(body.layers)):
            self._layers.append(_layer(body.layers[index], projection))
            body.layers[index] = None
        self._norm = _norm(body.norm)
        self._head = projection(model.lm_head)
        self._cos, self._sin = _rotary_tables(body, max_seq_len)

    def hidden_states(self, plan: AttentionPlan, cache: KVCache) -> torch.Tensor:
        """Run the planned tokens through all layers; returns [tokens, width] before the norm."""
        hidden = functional.embedding(plan.token_ids, self._embedding)
        cos, sin = self._cos[plan.positions], self._sin[plan.positions]
        for index, layer in enumerate(self._layers):
            normed = layer.input_norm(hidden)
            queries, keys_values = self._project(layer, normed, cos, sin)
            attended = cache.attend(index, queries, keys_values, plan)
            attended = self._all_reduce(layer.attention_output(attended))
            if layer.mlp_norm is None:
                hidden = hidden + attended + self._mlp(layer, normed)
            else:
                hidden = hidden + attended
                hidden = hidden + self._mlp(layer, layer.mlp_norm(hidden))
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 [tokens, vocab] from what `hidden_states` returned."""
        logits = self._all_gather(self._head(self._norm(hidden)))
        return logits[:, : self._vocab_size].float()

    def _project(
        self, layer: _Layer, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotated queries, and rotated keys with values, as `KVCache.attend` takes them."""
        projected = layer.query_key_value(normed)
        heads = projected.view(len(projected), -1, self._head_dim)
        queries_keys = heads[:, : self._num_heads + self._num_kv_heads]
        if layer.head_norm is not None:
            queries_keys.copy_(layer.head_norm(queries_keys))
        lanes = queries_keys[..., : cos.shape[-1]]
        halves_swapped = torch.cat(lanes.chunk(2, dim=-1)[::-1], dim=-1)
        lanes.mul_(cos).addcmul_(halves_swapped, sin)
        width = self._num_heads * self._head_dim
        return projected[:, :width], projected[:, width:]

    def _mlp(self, layer: _Layer, normed: torch.Tensor) -> torch.Tensor:
        gate, up = layer.gate_up(normed).chunk(2, dim=-1)
        return self._all_reduce(layer.down(self._activation(gate).mul_(up)))


def _layer(layer: Any, projection: Callable[..., Map]) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        input_norm=_norm(layer.input_layernorm),
        query_key_value=projection(attention.q_proj, attention.k_proj, attention.v_proj),
        head_norm=_head_norm(attention) if getattr(attention, "qk_layernorm", False) else None,
        attention_output=projection(attention.o_proj),
        mlp_norm=_norm(layer.post_attention_layernorm) if layer.post_attention_layernorm else None,
        gate_up=projection(mlp.gate_proj, mlp.up_proj),
        down=projection(mlp.down_proj),
    )


def _norm(module: Any) -> Map:
    weight = module.weight.clone()
    if isinstance(module, torch.nn.LayerNorm):
        return partial(
            functional.layer_norm,
            normalized_shape=weight.shape,
            weight=weight,
            bias=None if module.bias is None else module.bias.clone(),
            eps=module.eps,
        )
    return partial(_rms_norm, weight=weight, epsilon=module.variance_epsilon)


def _rms_norm(hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    # On a CPU torch's own rms_norm takes three times as long.
    wide = hidden.float()
    scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
    return weight * (wide * scale).to(hidden.dtype)


def _head_norm(attention: Any) -> Map:
    """Return the norms of all query and key heads, each with its own weight, as one function."""
    norms = [*attention.q_layernorm.norms, *attention.k_layernorm.norms]
    weight = torch.stack([norm.weight for norm in norms])
    epsilon = norms[0].eps

    def apply(heads: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(heads, heads.shape[-1:], eps=epsilon) * weight

    return apply


def _rotary_tables(body: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines [length, 1, rotary lanes] from the model's own embedding.

    The sines of the first half are negative: x * cos + swapped(x) * sin rotates.
    """
    like = body.embed_tokens.weight
    positions = torch.arange(length, device=like.device)[None]
    cos, sin = (table[0, :, None] for table in body.rotary_emb(like, positions))
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
