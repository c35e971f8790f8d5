"""A deployable model repository: the committed one with a deployment's values set."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from build_engines.repository import ModelRepository, RepositoryError
from catalog import ModelEntry

COMMITTED = ModelRepository(Path(__file__).parent.parent / "model_repository")


class CheckpointConfig(BaseModel):
    """The fields of a Hugging Face config.json that a deployment depends on."""

    model_config = ConfigDict(extra="ignore")

    architectures: list[str]
    max_position_embeddings: PositiveInt


def read_checkpoint_config(checkpoint: Path) -> CheckpointConfig:
    """Read `config.json` of a Hugging Face checkpoint directory.

    Raises:
        RepositoryError: there is none, or it lacks a field.
    """
    path = checkpoint / "config.json"
    try:
        return CheckpointConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise RepositoryError(f"{path}: not a Hugging Face checkpoint: {error}") from error


def assemble_reference(
    model: ModelEntry, checkpoint: Path, destination: Path, dtype: str = "float32"
) -> ModelRepository:
    """Write a repository that serves `checkpoint` as `model` with the reference engine.

    Raises:
        RepositoryError: the checkpoint is not one, or is of another architecture.
    """
    config = read_checkpoint_config(checkpoint)
    if model.architecture not in config.architectures:
        raise RepositoryError(
            f"{checkpoint}: is a {'/'.join(config.architectures)}, but {model.name} is a "
            f"{model.architecture}; name the model whose checkpoint this is"
        )
    directory = str(checkpoint.resolve())
    max_seq_len = str(min(model.engine.max_seq_len, config.max_position_embeddings))
    repository = COMMITTED.copy_to(destination)
    repository.set_parameters(
        "preprocessing", {"tokenizer_dir": directory, "max_seq_len": max_seq_len}
    )
    repository.set_parameters(
        "tensorrt_llm",
        {"checkpoint_dir": directory, "max_seq_len": max_seq_len, "dtype": dtype},
    )
    repository.set_parameters("postprocessing", {"tokenizer_dir": directory})
    return repository
