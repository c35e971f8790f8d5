"""What a model repository asks of the server that is to serve it."""

from dataclasses import dataclass
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineConfig, read_engine
from build_engines.repository import CONFIG_NAME, ModelRepository, RepositoryError
from build_engines.tensorrt_llm.step import BACKEND, EXECUTOR

ENGINE_PARAMETER = "gpt_model_path"


@dataclass(frozen=True, slots=True)
class Engine:
    """A TensorRT-LLM engine that a model of the repository runs."""

    model: str
    """Name of the Triton model."""
    directory: Path
    config: EngineConfig
    on_gpus: bool
    """Whether TensorRT-LLM runs it, not a Python engine in its place."""

    @property
    def world_size(self) -> int:
        """How many ranks it was built for."""
        return self.config.pretrained_config.mapping.world_size

    def rank_file(self, rank: int) -> Path:
        """Return the file of one rank."""
        return self.directory / f"rank{rank}.engine"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A repository, and the engines in it."""

    repository: ModelRepository
    engines: tuple[Engine, ...] = ()

    @property
    def world_size(self) -> int:
        """How many ranks the largest engine has; a Python engine counts as one."""
        return max((each.world_size for each in self.engines), default=1)

    @property
    def is_orchestrated(self) -> bool:
        """Whether one server spawns the ranks of several engines itself.

        With one engine of several ranks, mpirun starts a server for each (leader mode).
        """
        return len(self.engines) > 1 and self.world_size > 1

    @property
    def servers(self) -> int:
        """How many tritonservers mpirun starts; one needs no mpirun unless it spawns ranks."""
        return 1 if self.is_orchestrated else self.world_size


def read_deployment(repository: ModelRepository, ensembles: list[str]) -> Deployment:
    """Look at a repository before a server is started on it.

    Raises:
        RepositoryError: it is not a model repository, or serves none of `ensembles`.
        EngineError: an engine that it names cannot be read.
    """
    _require_ensembles(repository, ensembles)
    engines = []
    for model in repository.models:
        config = repository.read(model)
        path = config.parameters[ENGINE_PARAMETER].string_value
        if path:
            engine = read_engine(Path(path))
            runtime = config.parameters["runtime"].string_value
            on_gpus = config.backend == BACKEND or runtime == EXECUTOR
            engines.append(Engine(model, Path(path), engine, on_gpus))
    return Deployment(repository, tuple(engines))


def _require_ensembles(repository: ModelRepository, ensembles: list[str]) -> None:
    path = repository.path
    if not path.is_dir():
        raise RepositoryError(f"{path}: not a directory (REPOSITORY=...)")
    models = repository.models
    if not models:
        raise RepositoryError(f"{path}: {_what_has_no_models(path)} (REPOSITORY=...)")
    missing = sorted(set(ensembles) - set(models))
    if missing:
        raise RepositoryError(
            f"{path}: a Triton model repository without {', '.join(missing)}; it has "
            f"{', '.join(models)}; give one that `python -m build_engines assemble` has written"
        )


def _what_has_no_models(path: Path) -> str:
    inner = path / "model_repository"
    if any(inner.glob(f"*/{CONFIG_NAME}")):
        return f"the repository is the directory in it: {inner}"
    if (path / CONFIG_NAME).is_file():
        return f"one model of a repository; give the directory above it: {path.absolute().parent}"
    if (path / "config.json").is_file():
        return "a checkpoint or an engine, not a model repository; give a checkpoint as CHECKPOINT"
    what = "no Triton models in it" if any(path.iterdir()) else "an empty directory"
    return f"{what}; give one that `python -m build_engines assemble` has written"
