"""Triton model configurations as protobuf: read, set, written, never edited as text."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

CONFIG_NAME = "config.pbtxt"
ENSEMBLE = "ensemble"
ENGINE_STEP = "engine_step"
"""The ensemble's parameter that names the step whose requests a client can stop."""


class RepositoryError(ValueError):
    """A model repository is not what it should be; the text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class ModelRepository:
    """A directory of Triton models, one folder each."""

    path: Path

    @property
    def models(self) -> list[str]:
        """The names of the models in it."""
        return sorted(config.parent.name for config in self.path.glob(f"*/{CONFIG_NAME}"))

    def read(self, model: str) -> ModelConfig:
        """Parse a model's configuration.

        Raises:
            RepositoryError: it is missing or does not parse.
        """
        path = self.path / model / CONFIG_NAME
        try:
            return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
        except (OSError, text_format.ParseError) as error:
            raise RepositoryError(f"{path}: {error}") from error

    def write(self, model: str, config: ModelConfig) -> None:
        """Write a model's configuration over the one that is there."""
        (self.path / model / CONFIG_NAME).write_text(
            text_format.MessageToString(config), encoding="utf-8"
        )

    def set_parameters(self, model: str, parameters: Mapping[str, str]) -> None:
        """Set parameters that the model's configuration already has.

        Raises:
            RepositoryError: it has no parameter of that name.
        """
        config = self.read(model)
        for name, value in parameters.items():
            if name not in config.parameters:
                raise RepositoryError(f"{self.path / model / CONFIG_NAME}: no parameter '{name}'")
            config.parameters[name].string_value = value
        self.write(model, config)

    def copy_to(self, destination: Path) -> "ModelRepository":
        """Copy every model to an empty or new directory."""
        shutil.copytree(
            self.path, destination, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        return ModelRepository(destination)


def combine(parts: Mapping[str, ModelRepository], destination: Path) -> ModelRepository:
    """Write one repository that serves several models, each from a repository of its own.

    The ensemble of each has the model's name, and its steps begin with it:
    `mistral-7b`, `mistral-7b_preprocessing` and so on.

    Args:
        parts: by catalog name of the model; each has a model `ensemble`.
        destination: directory to write.

    Raises:
        RepositoryError: a configuration does not parse.
    """
    combined = ModelRepository(destination)
    for name, part in parts.items():
        names = {each: f"{name}_{each}" for each in part.models} | {ENSEMBLE: name}
        for old, new in names.items():
            shutil.copytree(
                part.path / old,
                destination / new,
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
            config = combined.read(new)
            config.name = new
            for step in config.ensemble_scheduling.step:
                step.model_name = names.get(step.model_name, step.model_name)
            if ENGINE_STEP in config.parameters:
                engine = config.parameters[ENGINE_STEP]
                engine.string_value = names.get(engine.string_value, engine.string_value)
            combined.write(new, config)
    return combined
