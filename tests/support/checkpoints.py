"""Tiny random checkpoints of the served architectures, in the Hugging Face form.

Weights have a standard deviation far above the usual 0.02: flat logits would have ties, and the
most likely token would depend on the shape of the batch.
"""

from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    StableLmConfig,
    StableLmForCausalLM,
)

WEIGHT_STD = 0.08
MAX_POSITION_EMBEDDINGS = 512


def make_stablelm(
    directory: Path, vocab_size: int = 512, *, norm_and_parallel: bool = False, seed: int = 1
) -> Path:
    """StableLM 3B in small: partial rotary 0.25, head size 80.

    With `norm_and_parallel` as StableLM 2: norms per head, parallel residual, GQA, biases.
    """
    config = StableLmConfig(
        vocab_size=vocab_size,
        hidden_size=160,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1 if norm_and_parallel else 2,
        max_position_embeddings=MAX_POSITION_EMBEDDINGS,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
        },
        use_qkv_bias=norm_and_parallel,
        qk_layernorm=norm_and_parallel,
        use_parallel_residual=norm_and_parallel,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _save(StableLmForCausalLM(config), directory, seed)


def make_mistral(
    directory: Path, vocab_size: int = 512, *, sliding_window: int | None = 24, seed: int = 2
) -> Path:
    """Mistral in small: grouped-query attention and a sliding window of a few tokens."""
    config = MistralConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_POSITION_EMBEDDINGS,
        sliding_window=sliding_window,
        bos_token_id=1,
        eos_token_id=2,
    )
    return _save(MistralForCausalLM(config), directory, seed)


def make_llama(
    directory: Path,
    vocab_size: int = 512,
    *,
    num_hidden_layers: int = 2,
    max_position_embeddings: int = MAX_POSITION_EMBEDDINGS,
    seed: int = 3,
) -> Path:
    """Llama in small: grouped-query attention."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_position_embeddings,
        bos_token_id=1,
        eos_token_id=2,
    )
    return _save(LlamaForCausalLM(config), directory, seed)


def _save(model: PreTrainedModel, directory: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norm weights near 1, everything else around 0.
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, WEIGHT_STD, generator=generator)
    model.save_pretrained(directory)
    # save_pretrained leaves the weights readable by their owner only; a server may be another.
    (directory / "model.safetensors").chmod(0o644)
    return directory
