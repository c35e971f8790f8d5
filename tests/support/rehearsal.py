"""Deployments of the executor that are served without a GPU, by the stand-in for TensorRT-LLM."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build_engines.checkpoint.engine_config import read_engine
from build_engines.checkpoint.tokenizer_files import TOKENIZER_INFO
from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED
from build_engines.tensorrt_llm.step import EngineFiles, executor_step
from guided_decoding.vocabulary import Vocabulary
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.deployments import engine_json

STAND_INS = Path(__file__).parents[1] / "stand_ins"


def write_executor_engine(
    directory: Path,
    model: dict[str, Any],
    *,
    vocab_size: int,
    world_size: int = 1,
    **limits: int,
) -> Path:
    """Write what the stand-in takes for an engine.

    Args:
        directory: to make.
        model: what `rank0.engine` names, see tensorrt_llm.standing_in.models.
        vocab_size: the model's.
        world_size: ranks, tensor parallel.
        limits: of build_config that are to differ.
    """
    directory.mkdir(parents=True)
    config = engine_json(world_size, vocab_size=vocab_size)
    config["build_config"] |= {"max_batch_size": 16, "max_beam_width": 4, **limits}
    (directory / "config.json").write_text(json.dumps(config))
    write_ranks(directory, model, world_size)
    return directory


def write_ranks(directory: Path, model: dict[str, Any], world_size: int) -> None:
    """Write an engine's rank files."""
    for rank in range(world_size):
        (directory / f"rank{rank}.engine").write_text(json.dumps(model))


def rehearse(
    repository: ModelRepository, engine: Path, checkpoint: Path, **limits: int
) -> ModelRepository:
    """Exchange a repository's reference engine for the executor, and nothing else.

    Args:
        repository: to change.
        engine: directory to make.
        checkpoint: what the stand-in computes with.
        limits: of build_config that are to differ.
    """
    config = repository.read("tensorrt_llm")
    max_seq_len = int(config.parameters["max_seq_len"].string_value)
    vocab_size = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    write_executor_engine(
        engine,
        {"checkpoint": str(checkpoint)},
        vocab_size=vocab_size,
        **{"max_seq_len": max_seq_len, "max_num_tokens": max_seq_len, **limits},
    )
    info = engine / TOKENIZER_INFO
    info.write_text(json.dumps(Vocabulary.load(checkpoint).tokenizer_info()), encoding="utf-8")
    files = EngineFiles(engine=engine, tokenizer=checkpoint, tokenizer_info=info)
    step = executor_step(config, files, read_engine(engine).build_config, None)
    repository.write("tensorrt_llm", step)
    repository.set_parameters("preprocessing", {"engine": "executor-1.2.1"})
    install_stand_in(repository)
    return repository


def install_stand_in(repository: ModelRepository) -> None:
    """Let the engine step find the stand-in: a stub does not read PYTHONPATH, but looks here."""
    version = repository.path / "tensorrt_llm" / "1"
    (version / "tensorrt_llm").symlink_to(STAND_INS / "tensorrt_llm")


def paced_repository(destination: Path, tokens_per_second: int) -> ModelRepository:
    """Write the committed repository with an executor that makes so many tokens a second."""
    repository = demo_repository(destination, max_batch_size=256)
    vocab_size = json.loads((DEMO / "config.json").read_text())["vocab_size"]
    model = {"tokens_per_second": tokens_per_second, "vocab_size": vocab_size}
    write_ranks(destination / "engine", model, 1)
    return repository


DEMO = COMMITTED.path.parent / "demo" / "checkpoint"


def demo_repository(directory: Path, **limits: int) -> ModelRepository:
    """Write the committed repository, which serves the demo, with the executor in it."""
    repository = COMMITTED.copy_to(directory / "models")
    for model in ("preprocessing", "postprocessing"):
        repository.set_parameters(model, {"tokenizer_dir": str(DEMO)})
    return rehearse(repository, directory / "engine", DEMO, **limits)


@contextmanager
def rehearsed_triton(directory: Path, **limits: int) -> Iterator[TritonServer]:
    """Run a tritonserver that serves the demo with the executor on the stand-in.

    Its engine is built with the logits of prompts, unless `limits` say otherwise.
    """
    repository = demo_repository(directory, **{"gather_context_logits": True, **limits})
    with running_triton(repository.path, directory / "run") as server:
        yield server
