"""A deployable model repository: the committed one with a deployment's values set."""

from pathlib import Path
from typing import Literal

from build_engines.checkpoint.engine_config import BuildConfig, EngineConfig, EngineError
from build_engines.checkpoint.huggingface_config import HuggingFaceConfig, read_huggingface_config
from build_engines.checkpoint.partial_directory import partial_directory
from build_engines.checkpoint.tokenizer_files import (
    TOKENIZER_INFO,
    copy_tokenizer,
    write_tokenizer_info,
)
from build_engines.repository import ModelRepository, RepositoryError
from build_engines.served_checkpoint import read_served_checkpoint
from build_engines.tensorrt_llm.engine_checks import check_engine
from build_engines.tensorrt_llm.step import (
    EngineFiles,
    cpp_step,
    drop_undeclared_tensors,
    executor_step,
)
from catalog import TENSORRT_LLM_VERSION, EnginePlan, ModelEntry
from catalog.schema import Runtime

COMMITTED = ModelRepository(Path(__file__).parents[2] / "model_repository")
DEPLOYMENT_BYTES = 64 * 2**20
"""More than the largest tokenizer and the repository take."""


def assemble_reference(
    model: ModelEntry,
    checkpoint: Path,
    destination: Path,
    dtype: str = "auto",
    *,
    tensor_parallel_size: int | None = None,
    tokenizer: Path | None = None,
) -> ModelRepository:
    """Write a repository that serves `checkpoint` as `model` with the reference engine.

    Args:
        model: what the checkpoint is.
        checkpoint: a Hugging Face checkpoint, or a TensorRT-LLM checkpoint made by `convert`.
        destination: directory to write.
        dtype: of weights and cache; "auto" leaves the choice to the engine.
        tensor_parallel_size: processes that share the model; if None as many as the checkpoint was
            converted for, otherwise one.
        tokenizer: directory of the tokenizer, which a converted checkpoint lacks.

    Raises:
        RepositoryError: the checkpoint is not one, is of another architecture, or does not fit the
            other arguments.
    """
    served = read_served_checkpoint(model, checkpoint, tensor_parallel_size, tokenizer)
    max_seq_len = str(served.max_seq_len)
    repository = COMMITTED.copy_to(destination)
    repository.set_parameters(
        "preprocessing", {"tokenizer_dir": str(served.tokenizer), "max_seq_len": max_seq_len}
    )
    repository.set_parameters(
        "tensorrt_llm",
        {
            "checkpoint_dir": str(served.directory),
            "tokenizer_dir": str(served.tokenizer),
            "max_seq_len": max_seq_len,
            "dtype": dtype,
            "tensor_parallel_size": str(served.tensor_parallel_size),
        },
    )
    repository.set_parameters("postprocessing", {"tokenizer_dir": str(served.tokenizer)})
    return repository


def assemble(
    model: ModelEntry,
    plan: EnginePlan,
    engine: Path | None,
    checkpoint: Path,
    destination: Path,
    *,
    runtime: Runtime,
) -> ModelRepository:
    """Write a deployment: of an engine with TensorRT-LLM, or of a checkpoint with ours.

    Arguments and errors: see `assemble_tensorrtllm` and `assemble_reference`.

    Raises:
        RepositoryError: there is an engine where none is served, or none where one is.
    """
    if runtime != "reference":
        if engine is None:
            raise RepositoryError(f"runtime {runtime} serves an engine; give it as --engine")
        return assemble_tensorrtllm(model, plan, engine, checkpoint, destination, runtime=runtime)
    if engine is not None:
        raise RepositoryError("runtime reference serves a checkpoint; leave out --engine")
    if destination.exists():
        raise RepositoryError(f"{destination} exists; remove it, or give another directory")
    return assemble_reference(model, checkpoint.resolve(), destination / "model_repository")


def assemble_tensorrtllm(
    model: ModelEntry,
    plan: EnginePlan,
    engine: Path,
    checkpoint: Path,
    destination: Path,
    *,
    runtime: Literal["executor", "cpp"],
) -> ModelRepository:
    """Write a deployment that serves an engine with TensorRT-LLM.

    Args:
        model: the model.
        plan: what the engine was planned as.
        engine: its directory; it stays where it is.
        checkpoint: the Hugging Face checkpoint, for the tokenizer.
        destination: new directory; gets `model_repository/` and, beside it, `tokenizer/`. The
            paths in the configurations are absolute: where it is written it must be served.
        runtime: the executor, called from Python; or NVIDIA's C++ backend.

    Raises:
        EngineError: the engine is not what was planned, or not of this checkpoint.
        CheckpointError: `checkpoint` is not a Hugging Face checkpoint.
        RepositoryError: it has no tokenizer, or `destination` exists.
        ConversionError: `destination` cannot be written.
    """
    config = check_engine(engine, model, plan)
    _check_same_model(config, engine, read_huggingface_config(checkpoint), checkpoint)
    destination = destination.resolve()
    if destination.exists():
        raise RepositoryError(f"{destination} exists; remove it, or give another directory")
    tokenizer = destination / "tokenizer"
    with partial_directory(destination, DEPLOYMENT_BYTES) as partial:
        copy_tokenizer(checkpoint, partial / tokenizer.name)
        has_info = write_tokenizer_info(partial / tokenizer.name)
        files = EngineFiles(
            engine=engine.resolve(),
            tokenizer=tokenizer,
            tokenizer_info=tokenizer / TOKENIZER_INFO if has_info else None,
        )
        write = _write_executor if runtime == "executor" else _write_cpp
        write(partial / "model_repository", files, config, model)
    return ModelRepository(destination / "model_repository")


def _write_executor(
    path: Path, files: EngineFiles, engine: EngineConfig, model: ModelEntry
) -> None:
    repository = COMMITTED.copy_to(path)
    committed, limits = repository.read("tensorrt_llm"), engine.build_config
    step = executor_step(committed, files, limits, model.shape.sliding_window)
    repository.write("tensorrt_llm", step)
    _set_tokenizer_steps(repository, files, limits, f"executor-{TENSORRT_LLM_VERSION}")


def _write_cpp(path: Path, files: EngineFiles, engine: EngineConfig, model: ModelEntry) -> None:
    repository = COMMITTED.copy_to(path)
    committed, limits = repository.read("tensorrt_llm"), engine.build_config
    step = cpp_step(committed, files, limits, model.shape.sliding_window)
    repository.write("tensorrt_llm", step)
    # The C++ backend wants the version's directory and nothing in it.
    (path / "tensorrt_llm" / "1" / "model.py").unlink()
    ensemble = repository.read("ensemble")
    drop_undeclared_tensors(ensemble)
    repository.write("ensemble", ensemble)
    _set_tokenizer_steps(repository, files, limits, f"tensorrtllm-{TENSORRT_LLM_VERSION}")


def _set_tokenizer_steps(
    repository: ModelRepository, files: EngineFiles, limits: BuildConfig, engine: str
) -> None:
    repository.set_parameters(
        "preprocessing",
        {
            "tokenizer_dir": str(files.tokenizer),
            "max_seq_len": str(limits.max_seq_len),
            "max_beam_width": str(limits.max_beam_width),
            "engine": engine,
        },
    )
    repository.set_parameters("postprocessing", {"tokenizer_dir": str(files.tokenizer)})


def _check_same_model(
    config: EngineConfig, engine: Path, source: HuggingFaceConfig, checkpoint: Path
) -> None:
    """Refuse the tokenizer of one model for the engine of another."""
    for field in ("vocab_size", "hidden_size", "num_hidden_layers"):
        built, found = getattr(config.pretrained_config, field), getattr(source, field)
        if built != found:
            raise EngineError(
                f"{engine}: has {field} {built}, but {checkpoint} has {found}; give the "
                "checkpoint that the engine was made from"
            )
