"""What an engine serves and within which limits: every default resolved, every limit checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from reference_engine.model.checkpoint import DTYPES, INT8, read_model_config
from reference_engine.model.hardware import AUTO, CPU, best_device, resolve_dtype
from reference_engine.model.model_config import ModelConfig

DEFAULT_MAX_SEQ_LEN = 4096
TOKENS_PER_BLOCK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """A checkpoint and the limits it is served within; `resolve` makes one.

    `max_seq_len`, `dtype` and `num_blocks` are never left to a default here.
    """

    checkpoint_dir: Path
    tokenizer_dir: Path
    """Where tokenizer.json is, which guided requests need."""
    model: ModelConfig
    dtype: str
    device: torch.device
    tensor_parallel_size: int
    max_batch_size: int
    max_beam_width: int
    max_queue_size: int
    max_seq_len: int
    num_blocks: int
    block_size: int = TOKENS_PER_BLOCK

    @property
    def is_shared(self) -> bool:
        """Whether the model is served by ranks, even if by one."""
        return self.model.num_ranks is not None or self.tensor_parallel_size > 1

    @property
    def has_int8_weights(self) -> bool:
        """Whether projections keep their weights as int8."""
        return self.dtype == INT8

    @classmethod
    def resolve(
        cls,
        checkpoint_dir: str | Path,
        *,
        max_batch_size: int = 16,
        max_seq_len: int | None = None,
        max_tokens_in_paged_kv_cache: int | None = None,
        max_beam_width: int = 1,
        max_queue_size: int = 0,
        dtype: str = AUTO,
        tensor_parallel_size: int = 1,
        tokenizer_dir: Path | None = None,
    ) -> Self:
        """Read a checkpoint's config.json and resolve every limit.

        Args:
            checkpoint_dir: a Hugging Face checkpoint, with config.json and *.safetensors, or a
                TensorRT-LLM checkpoint that build_engines has converted.
            max_batch_size: sequences that run at once; a beam search counts as `beam_width`.
            max_seq_len: prompt and output tokens of one sequence together; by default the model's
                limit, at most `DEFAULT_MAX_SEQ_LEN`.
            max_tokens_in_paged_kv_cache: tokens that all running sequences may have together,
                their whole outputs counted from the start; by default
                `max_batch_size * max_seq_len`.
            max_beam_width: the widest beam search accepted.
            max_queue_size: requests that may wait; 0 for no limit.
            dtype: of weights and cache; "auto" is bfloat16 where that pays. Only float32 gives
                output that does not depend on what else is in the batch. "int8" rounds the weights
                of every projection to int8 and computes in bfloat16; only on a CPU.
            tensor_parallel_size: processes that share the model, this one the first of them.
            tokenizer_dir: if None `checkpoint_dir`.

        Raises:
            CheckpointError: config.json cannot be read, or describes a model that is not served.
            ValueError: the limits contradict each other or the model.
        """
        if not 1 <= max_beam_width <= max_batch_size:
            raise ValueError(
                f"max_beam_width is {max_beam_width}; it must be in [1, max_batch_size]"
                f" = [1, {max_batch_size}]"
            )
        if max_queue_size < 0:
            raise ValueError(f"max_queue_size is {max_queue_size}; use 0 for no limit")
        if dtype not in (AUTO, *DTYPES):
            raise ValueError(f"dtype is {dtype!r}; use one of {', '.join((AUTO, *DTYPES))}")
        if tensor_parallel_size < 1:
            raise ValueError(f"tensor_parallel_size is {tensor_parallel_size}; use 1 or more")
        model = read_model_config(Path(checkpoint_dir))
        max_seq_len = _resolve_max_seq_len(max_seq_len, model)
        num_blocks = max_batch_size * -(-max_seq_len // TOKENS_PER_BLOCK)
        if max_tokens_in_paged_kv_cache is not None:
            num_blocks = max_tokens_in_paged_kv_cache // TOKENS_PER_BLOCK
        if num_blocks < 1:
            raise ValueError(
                f"max_tokens_in_paged_kv_cache is {max_tokens_in_paged_kv_cache};"
                f" it must be at least {TOKENS_PER_BLOCK}"
            )
        is_shared = model.num_ranks is not None or tensor_parallel_size > 1
        device = CPU if is_shared else best_device()
        if dtype == INT8 and device != CPU:
            raise ValueError("dtype int8 is for CPUs; use bfloat16 on a GPU")
        return cls(
            checkpoint_dir=Path(checkpoint_dir),
            tokenizer_dir=Path(tokenizer_dir or checkpoint_dir),
            model=model,
            dtype=resolve_dtype(dtype, model, device),
            device=device,
            tensor_parallel_size=tensor_parallel_size,
            max_batch_size=max_batch_size,
            max_beam_width=max_beam_width,
            max_queue_size=max_queue_size,
            max_seq_len=max_seq_len,
            num_blocks=num_blocks,
        )


def _resolve_max_seq_len(asked: int | None, model: ModelConfig) -> int:
    limit = model.max_position_embeddings
    if asked is None:
        return min(limit, DEFAULT_MAX_SEQ_LEN)
    if not 2 <= asked <= limit:
        raise ValueError(
            f"max_seq_len is {asked}; it must be in [2, {limit}],"
            " the model's max_position_embeddings"
        )
    return asked
