"""A transformers model whose large weights are one rank's share."""

from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from reference_engine.model.checkpoint import (
    CheckpointError,
    ModelShape,
    read_config,
    torch_dtype,
)
from reference_engine.ranks.share import Rank, check_divisible, region_of
from reference_engine.ranks.weights import (
    ConvertedWeights,
    HuggingFaceWeights,
    Weights,
)


def shape_of(shape: ModelShape, rank: Rank) -> ModelShape:
    """Return what the cache of one rank needs to know of the model."""
    heads, kv_heads = rank.heads(shape.num_heads), rank.heads(shape.num_kv_heads)
    return replace(
        shape,
        num_heads=heads.stop - heads.start,
        num_kv_heads=kv_heads.stop - kv_heads.start,
    )


def load_shard(directory: Path, dtype: str, rank: Rank) -> Any:
    """Load the share of a rank; nothing else of the weights is read.

    Args:
        directory: a Hugging Face checkpoint, or a TensorRT-LLM one converted for `rank.size` ranks.
        dtype: one of `DTYPES`.
        rank: whose share.

    Returns:
        A transformers model to make a `Decoder` of; it cannot be called itself.

    Raises:
        CheckpointError: the checkpoint cannot be read or not be shared like this.
    """
    config, ranks = read_config(directory)
    if ranks is not None and ranks != rank.size:
        raise CheckpointError(
            f"{directory}: was converted for {ranks} ranks, but tensor_parallel_size is {rank.size}"
        )
    try:
        check_divisible(config, rank.size)
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    config.tie_word_embeddings = False
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch_dtype(dtype))
    body = model.model
    body.rotary_emb = type(body.rotary_emb)(config)  # computed, not read
    with ExitStack() as files:
        weights: Weights = (
            HuggingFaceWeights(directory, files)
            if ranks is None
            else ConvertedWeights(directory, files, rank)
        )
        _fill(model, weights, config, rank)
    _keep_own_heads(model, config, rank)
    return model.eval()


def _fill(model: Any, weights: Weights, config: PreTrainedConfig, rank: Rank) -> None:
    for name, parameter in list(model.named_parameters()):
        module = model.get_submodule(name.rpartition(".")[0])
        shape = tuple(parameter.shape)
        region = region_of(name, shape, config, rank)
        own = None
        if region is not None:
            tensor = weights.read(name, shape, region).to(parameter.dtype).contiguous()
            own = nn.Parameter(_pad(name, tensor, shape, rank), requires_grad=False)
        module.register_parameter(name.rpartition(".")[2], own)


def _pad(name: str, tensor: torch.Tensor, shape: tuple[int, ...], rank: Rank) -> torch.Tensor:
    """Give all ranks equal parts of the vocabulary, so that their logits can be gathered."""
    if name != "lm_head.weight":
        return tensor
    missing = -(-shape[0] // rank.size) - len(tensor)
    return nn.functional.pad(tensor, (0, 0, 0, missing))


def _keep_own_heads(model: Any, config: PreTrainedConfig, rank: Rank) -> None:
    """Let the model say that it has as many heads as it now has."""
    own, kv_own = rank.heads(config.num_attention_heads), rank.heads(config.num_key_value_heads)
    model.config = copy(config)
    model.config.num_attention_heads = own.stop - own.start
    model.config.num_key_value_heads = kv_own.stop - kv_own.start
    for layer in model.model.layers:
        attention = layer.self_attn
        if getattr(attention, "qk_layernorm", False):
            attention.q_layernorm.norms = attention.q_layernorm.norms[own]
            attention.k_layernorm.norms = attention.k_layernorm.norms[kv_own]
