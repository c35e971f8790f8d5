"""What a deployment with the reference engine takes from a checkpoint of either form."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from build_engines.checkpoint.forms import is_trtllm_config, other_form, quantized_form
from build_engines.checkpoint.trtllm_config import (
    TENSORRT_LLM_ARCHITECTURES,
    TrtllmConfigError,
    parse_trtllm_config,
)
from build_engines.repository import RepositoryError
from catalog import ModelEntry


class HuggingFaceFields(BaseModel):
    """The fields of a Hugging Face config.json that a deployment depends on."""

    model_config = ConfigDict(extra="ignore")

    architectures: list[str]
    max_position_embeddings: PositiveInt


@dataclass(frozen=True, slots=True)
class ServedCheckpoint:
    """A checkpoint of the model that it is to be served as."""

    directory: Path
    tokenizer: Path
    max_seq_len: int
    tensor_parallel_size: int


def read_served_checkpoint(
    model: ModelEntry, checkpoint: Path, tensor_parallel_size: int | None, tokenizer: Path | None
) -> ServedCheckpoint:
    """Look at a Hugging Face checkpoint, or at a TensorRT-LLM checkpoint made by `convert`.

    Args:
        model: what it is to be served as.
        checkpoint: its directory.
        tensor_parallel_size: ranks; if None as many as it was converted for, otherwise one.
        tokenizer: directory of the tokenizer; if None the checkpoint's own.

    Raises:
        RepositoryError: it is not a checkpoint, one of another model, converted for another number
            of ranks, or has no tokenizer.
    """
    path = checkpoint / "config.json"
    if what := other_form(checkpoint):
        raise RepositoryError(f"{checkpoint}: {what}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RepositoryError(f"{path}: not a Hugging Face checkpoint: {error}") from error
    if isinstance(content, dict) and "build_config" in content:
        raise RepositoryError(
            f"{checkpoint}: a TensorRT-LLM engine, not a checkpoint; write a repository for it with"
            f" `python -m build_engines assemble {model.name} --engine {checkpoint} ...` and give"
            " that as REPOSITORY"
        )
    if isinstance(content, dict) and (what := quantized_form(content)):
        raise RepositoryError(f"{checkpoint}: {what}")
    if is_trtllm_config(content):
        return _converted(model, checkpoint, content, tensor_parallel_size, tokenizer)
    try:
        fields = HuggingFaceFields.model_validate(content)
    except ValidationError as error:
        raise RepositoryError(f"{path}: not a Hugging Face checkpoint: {error}") from error
    _require(model, model.architecture, fields.architectures, checkpoint)
    return ServedCheckpoint(
        directory=checkpoint.resolve(),
        tokenizer=(tokenizer or checkpoint).resolve(),
        max_seq_len=min(model.engine.max_seq_len, fields.max_position_embeddings),
        tensor_parallel_size=tensor_parallel_size or 1,
    )


def _converted(
    model: ModelEntry,
    checkpoint: Path,
    content: dict[str, Any],
    tensor_parallel_size: int | None,
    tokenizer: Path | None,
) -> ServedCheckpoint:
    try:
        config = parse_trtllm_config(content)
    except TrtllmConfigError as error:
        raise RepositoryError(f"{checkpoint}: not a TensorRT-LLM checkpoint: {error}") from error
    architecture = TENSORRT_LLM_ARCHITECTURES[model.architecture]
    _require(model, architecture, [config.architecture], checkpoint)
    ranks = config.mapping.tp_size
    if tensor_parallel_size not in (None, ranks):
        raise RepositoryError(
            f"{checkpoint}: was converted for {ranks} ranks, not {tensor_parallel_size}; convert"
            f" again, or serve it with {ranks}"
        )
    if tokenizer is None:
        raise RepositoryError(
            f"{checkpoint}: a converted checkpoint has no tokenizer; name the Hugging Face"
            " checkpoint it was made from (TOKENIZER=...)"
        )
    # A sliding window is not in the config: a sequence must fit into it.
    lengths = (model.engine.max_seq_len, config.max_position_embeddings, model.shape.sliding_window)
    return ServedCheckpoint(
        directory=checkpoint.resolve(),
        tokenizer=tokenizer.resolve(),
        max_seq_len=min(length for length in lengths if length is not None),
        tensor_parallel_size=ranks,
    )


def _require(
    model: ModelEntry, architecture: str, architectures: list[str], checkpoint: Path
) -> None:
    if architecture not in architectures:
        raise RepositoryError(
            f"{checkpoint}: is a {'/'.join(architectures)}, but {model.name} is a {architecture};"
            " name the model whose checkpoint this is"
        )
