"""The decoder that Llama, Mistral and StableLM share, over a flat list of tokens.

The same arithmetic as the transformers models (huggingface/transformers 5.23,
src/transformers/models/{llama,mistral,stablelm}), with the projections of a layer that read the
same input fused, and without a batch dimension: prompts and single tokens of many sequences go
through every projection side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.kv_cache import AttentionPlan, KVCache
from reference_engine.model.model_config import ModelConfig
from reference_engine.model.parameters import Parameters
from reference_engine.model.projection import Linear, Map, int8_projection, packed_projection
from reference_engine.model.rotary import rotary_tables
from reference_engine.model.weights import EMBEDDING


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    """Exchange nothing: a single rank has the whole model."""
    return tensor


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer as functions of [tokens, width]; heads are those of this rank."""

    num_heads: int
    num_kv_heads: int
    input_norm: Map
    query_key_value: Map
    head_norm: Map | None  # of queries and keys [tokens, heads + kv_heads, head_dim]
    attention_output: Map
    mlp_norm: Map | None  # none: attention and MLP stand side by side
    gate_up: Map
    down: Map


class Decoder:
    """Computes hidden states and logits.

    Args:
        config: of the whole model.
        parameters: the model's, or one rank's share of them. Every one is copied, so that none is
            held twice, neither as another tensor nor as a page of the mapped file.
        max_seq_len: positions to prepare the rotary embedding for.
        all_reduce: from one rank's share of a projection's output to the sum of all ranks'.
        all_gather: from logits of one rank's part of the vocabulary to all, perhaps padded.
        has_int8_weights: whether the weights of projections are rounded to int8.

    Raises:
        CheckpointError: a parameter is missing or of another shape than `config` says.
    """

    def __init__(
        self,
        config: ModelConfig,
        parameters: Parameters,
        max_seq_len: int,
        all_reduce: Map = unchanged,
        all_gather: Map = unchanged,
        *,
        has_int8_weights: bool = False,
    ) -> None:
        projection = int8_projection if has_int8_weights else packed_projection
        read = _Reader(config, parameters)
        self._all_reduce, self._all_gather = all_reduce, all_gather
        self._vocab_size = config.vocab_size
        self._head_dim = config.head_dim
        self._embedding = parameters.read(EMBEDDING, config.vocab_size, config.hidden_size).clone()
        self._activation = _activation(config.activation)
        self._layers = [
            _layer(config, read, f"model.layers.{index}", projection)
            for index in range(config.num_layers)
        ]
        self._norm = read.norm("model.norm")
        self._head = projection(read.linear("lm_head", config.hidden_size, config.vocab_size))
        self._cos, self._sin = rotary_tables(
            config, max_seq_len, parameters.dtype, parameters.device
        )

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
        queries_keys = heads[:, : layer.num_heads + layer.num_kv_heads]
        if layer.head_norm is not None:
            queries_keys.copy_(layer.head_norm(queries_keys))
        lanes = queries_keys[..., : cos.shape[-1]]
        halves_swapped = torch.cat(lanes.chunk(2, dim=-1)[::-1], dim=-1)
        lanes.mul_(cos).addcmul_(halves_swapped, sin)
        width = layer.num_heads * self._head_dim
        return projected[:, :width], projected[:, width:]

    def _mlp(self, layer: _Layer, normed: torch.Tensor) -> torch.Tensor:
        gate, up = layer.gate_up(normed).chunk(2, dim=-1)
        return self._all_reduce(layer.down(self._activation(gate).mul_(up)))


class _Reader:
    """Reads modules by their names."""

    def __init__(self, config: ModelConfig, parameters: Parameters) -> None:
        self._config = config
        self._parameters = parameters

    def linear(self, name: str, inputs: int, outputs: int, has_bias: bool = False) -> Linear:
        weight = self._parameters.read(f"{name}.weight", outputs, inputs)
        bias = self._parameters.read_if_own(f"{name}.bias", outputs) if has_bias else None
        return Linear(weight, bias)

    def norm(self, name: str) -> Map:
        size, epsilon = self._config.hidden_size, self._config.norm_epsilon
        weight = self._parameters.read(f"{name}.weight", size).clone()
        if not self._config.has_layer_norm:
            return partial(_rms_norm, weight=weight, epsilon=epsilon)
        bias = self._parameters.read(f"{name}.bias", size).clone()
        return partial(
            functional.layer_norm, normalized_shape=[size], weight=weight, bias=bias, eps=epsilon
        )

    def head_norm(self, queries: str, keys: str) -> Map:
        """Return the norms of all query and key heads, each with its own weight."""
        config, read = self._config, self._parameters.read_if_own
        names = [f"{queries}.norms.{head}.weight" for head in range(config.num_heads)]
        names += [f"{keys}.norms.{head}.weight" for head in range(config.num_kv_heads)]
        weights = [read(name, config.head_dim) for name in names]
        own = torch.stack([weight for weight in weights if weight is not None])

        def apply(heads: torch.Tensor) -> torch.Tensor:
            return functional.layer_norm(heads, heads.shape[-1:], eps=config.norm_epsilon) * own

        return apply


def _layer(config: ModelConfig, read: _Reader, name: str, projection: Callable[..., Map]) -> _Layer:
    attention, mlp = f"{name}.self_attn", f"{name}.mlp"
    width, queries = config.hidden_size, config.num_heads * config.head_dim
    keys, inner = config.num_kv_heads * config.head_dim, config.intermediate_size
    query_key_value = [
        read.linear(f"{attention}.{module}", width, outputs, config.has_query_key_value_bias)
        for module, outputs in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys))
    ]
    gate_up = [
        read.linear(f"{mlp}.{module}", width, inner, config.has_mlp_bias)
        for module in ("gate_proj", "up_proj")
    ]
    output = read.linear(f"{attention}.o_proj", queries, width, config.has_attention_output_bias)
    head_norm = None
    if config.has_head_norms:
        head_norm = read.head_norm(f"{attention}.q_layernorm", f"{attention}.k_layernorm")
    return _Layer(
        num_heads=len(query_key_value[0].weight) // config.head_dim,
        num_kv_heads=len(query_key_value[1].weight) // config.head_dim,
        input_norm=read.norm(f"{name}.input_layernorm"),
        query_key_value=projection(*query_key_value),
        head_norm=head_norm,
        attention_output=projection(output),
        mlp_norm=None if config.is_parallel else read.norm(f"{name}.post_attention_layernorm"),
        gate_up=projection(*gate_up),
        down=projection(read.linear(f"{mlp}.down_proj", inner, width, config.has_mlp_bias)),
    )


def _rms_norm(hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    # On a CPU torch's own rms_norm takes three times as long.
    wide = hidden.float()
    scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
    return weight * (wide * scale).to(hidden.dtype)


def _activation(name: str) -> Map:
    if name == "silu":
        return functional.silu
    # Only here: importing transformers takes longer than everything else of a start.
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise CheckpointError(f"hidden_act is {name!r}, which transformers does not have")
    function: Map = ACT2FN[name]
    return function
