"""The decoder that Llama, Mistral and StableLM share, over a flat list of tokens.

The same arithmetic as the transformers models (huggingface/transformers 5.23,
src/transformers/models/{llama,mistral,stablelm}), with the projections of a layer that read the
same input fused, and without a batch dimension: prompts and single tokens of many sequences go
through every projection side by side.
"""

import torch
from torch.nn import functional

from reference_engine.model.kv_cache import AttentionPlan, KVCache
from reference_engine.model.layer import Layer, ModuleReader, activation
from reference_engine.model.model_config import ModelConfig
from reference_engine.model.parameters import Parameters
from reference_engine.model.projection import Map, int8_projection, packed_projection
from reference_engine.model.rotary import rotary_tables
from reference_engine.model.weights import EMBEDDING


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    """Exchange nothing: a single rank has the whole model."""
    return tensor


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
        CheckpointError: a parameter is missing or of another shape than `config` says, or
            `config` names what transformers does not have.
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
        read = ModuleReader(config, parameters)
        self._all_reduce, self._all_gather = all_reduce, all_gather
        self._vocab_size = config.vocab_size
        self._head_dim = config.head_dim
        self._embedding = parameters.read(EMBEDDING, config.vocab_size, config.hidden_size).clone()
        self._activation = activation(config.activation)
        self._layers = [
            read.layer(f"model.layers.{index}", projection) for index in range(config.num_layers)
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
        self, layer: Layer, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotated queries, and rotated keys with values, as `KVCache.attend` takes them."""
        projected = layer.query_key_value(normed)
        heads = projected.view(len(projected), -1, self._head_dim)
        queries_keys = heads[:, : layer.num_heads + layer.num_kv_heads]
        if layer.head_norm is not None:
            queries_keys.copy_(layer.head_norm(queries_keys))
        lanes = queries_keys
        if cos.shape[-1] < self._head_dim:
            lanes = queries_keys[..., : cos.shape[-1]]
        halves_swapped = lanes.roll(cos.shape[-1] // 2, dims=-1)
        lanes.mul_(cos).addcmul_(halves_swapped, sin)
        return heads[:, : layer.num_heads], heads[:, layer.num_heads :]

    def _mlp(self, layer: Layer, normed: torch.Tensor) -> torch.Tensor:
        gate, up = layer.gate_up(normed).chunk(2, dim=-1)
        return self._all_reduce(layer.down(self._activation(gate).mul_(up)))
