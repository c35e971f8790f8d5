"""The modules of one layer as functions, made of what a checkpoint calls them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.model_config import ModelConfig
from reference_engine.model.parameters import Parameters
from reference_engine.model.projection import Linear, Map


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one layer as functions of [tokens, width]; heads are those of this rank."""

    num_heads: int
    num_kv_heads: int
    input_norm: Map
    query_key_value: Map
    head_norm: Map | None
    """Of queries and keys, [tokens, heads + kv_heads, head_dim]."""
    attention_output: Map
    mlp_norm: Map | None
    """None where attention and MLP stand side by side."""
    gate_up: Map
    down: Map


class ModuleReader:
    """Reads the modules of a model by the names that transformers gives them.

    Every parameter is copied: by a projection, or here.
    """

    def __init__(self, config: ModelConfig, parameters: Parameters) -> None:
        self._config = config
        self._parameters = parameters

    def layer(self, name: str, projection: Callable[..., Map]) -> Layer:
        """Return the layer of that name, its projections made by `projection`."""
        config = self._config
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        width, queries = config.hidden_size, config.num_heads * config.head_dim
        keys, inner = config.num_kv_heads * config.head_dim, config.intermediate_size
        query_key_value = [
            self.linear(f"{attention}.{module}", width, outputs, config.has_query_key_value_bias)
            for module, outputs in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys))
        ]
        gate_up = [
            self.linear(f"{mlp}.{module}", width, inner, config.has_mlp_bias)
            for module in ("gate_proj", "up_proj")
        ]
        output = self.linear(
            f"{attention}.o_proj", queries, width, config.has_attention_output_bias
        )
        head_norm = None
        if config.has_head_norms:
            head_norm = self._head_norm(f"{attention}.q_layernorm", f"{attention}.k_layernorm")
        return Layer(
            num_heads=len(query_key_value[0].weight) // config.head_dim,
            num_kv_heads=len(query_key_value[1].weight) // config.head_dim,
            input_norm=self.norm(f"{name}.input_layernorm"),
            query_key_value=projection(*query_key_value),
            head_norm=head_norm,
            attention_output=projection(output),
            mlp_norm=None if config.is_parallel else self.norm(f"{name}.post_attention_layernorm"),
            gate_up=projection(*gate_up),
            down=projection(self.linear(f"{mlp}.down_proj", inner, width, config.has_mlp_bias)),
        )

    def linear(self, name: str, inputs: int, outputs: int, has_bias: bool = False) -> Linear:
        """Return a linear layer, of which a rank may have a part."""
        weight = self._parameters.read(f"{name}.weight", outputs, inputs)
        bias = self._parameters.read_if_own(f"{name}.bias", outputs) if has_bias else None
        return Linear(weight, bias)

    def norm(self, name: str) -> Map:
        """Return a norm over the whole width."""
        size, epsilon = self._config.hidden_size, self._config.norm_epsilon
        weight = self._parameters.read(f"{name}.weight", size).clone()
        if not self._config.has_layer_norm:
            epsilons = torch.full((1, 1), epsilon, device=weight.device)
            return partial(_rms_norm, weight=weight, epsilons=epsilons)
        bias = self._parameters.read(f"{name}.bias", size).clone()
        return partial(
            functional.layer_norm, normalized_shape=[size], weight=weight, bias=bias, eps=epsilon
        )

    def _head_norm(self, queries: str, keys: str) -> Map:
        """Return the norms of all query and key heads, each with its own weight."""
        config, read = self._config, self._parameters.read_if_own
        names = [f"{queries}.norms.{head}.weight" for head in range(config.num_heads)]
        names += [f"{keys}.norms.{head}.weight" for head in range(config.num_kv_heads)]
        weights = [read(name, config.head_dim) for name in names]
        own = torch.stack([weight for weight in weights if weight is not None])

        def apply(heads: torch.Tensor) -> torch.Tensor:
            return functional.layer_norm(heads, heads.shape[-1:], eps=config.norm_epsilon) * own

        return apply


def _rms_norm(hidden: torch.Tensor, weight: torch.Tensor, epsilons: torch.Tensor) -> torch.Tensor:
    # torch's own is made of as many operations, and of more where it is given many tokens.
    wide = hidden.float()
    squares = wide.square().sum(-1, keepdim=True)
    scale = torch.add(epsilons, squares, alpha=1 / len(weight)).rsqrt_()
    return weight * (wide * scale).to(hidden.dtype)


def activation(name: str) -> Map:
    """Return what transformers calls by that name.

    Raises:
        CheckpointError: it has none.
    """
    if name == "silu":
        return functional.silu
    # Only here: importing transformers takes longer than everything else of a start.
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise CheckpointError(f"hidden_act is {name!r}, which transformers does not have")
    function: Map = ACT2FN[name]
    return function
