"""A deployment for each runtime: what serves an engine, and with which parameters."""

from pathlib import Path
from typing import get_args

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from build_engines.__main__ import main
from build_engines.repository import ModelRepository
from build_engines.tensorrt_llm.assemble import COMMITTED, assemble
from build_engines.tensorrt_llm.step import EXECUTOR_OPTIONS
from catalog import ModelEntry, load_catalog
from catalog.schema import Runtime
from demo.export import CHECKPOINT
from executor_engine.settings import ARGUMENTS, PERFORMANCE_PROPERTIES
from launcher.deployment import read_deployment
from support.trtllm_engines import make_engine, make_source

CATALOG = load_catalog()
READ_BY_EXECUTOR = {
    *(name for settings in ARGUMENTS.values() for name in settings),
    *PERFORMANCE_PROPERTIES,
    "batch_scheduler_policy",
    "decoding_mode",
    "executor_worker_path",
    "gpu_device_ids",
    "gpt_model_path",
    "guided_decoding_backend",
    "xgrammar_tokenizer_info_path",
}
READ_BY_THE_STEP = {
    "runtime",
    "exclude_input_in_output",
    "cancellation_check_period_ms",
    "response_round_ms",
}


def deploy(directory: Path, model: ModelEntry, runtime: Runtime) -> ModelRepository:
    source = make_source(directory / "source", model)
    engine = make_engine(directory / "engine", model, model.engine, source)
    return assemble(model, model.engine, engine, source, directory / "deployment", runtime=runtime)


def parameters(config: ModelConfig) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


@pytest.mark.parametrize("name", CATALOG)
def test_the_executor_gets_every_parameter_that_it_reads_and_no_other(
    tmp_path: Path, name: str
) -> None:
    model = CATALOG[name]
    repository = deploy(tmp_path, model, "executor")
    given = parameters(repository.read("tensorrt_llm"))
    assert set(given) == READ_BY_EXECUTOR | READ_BY_THE_STEP
    assert given["runtime"] == "executor"
    assert given["gpt_model_path"] == str(tmp_path / "engine")
    assert given["max_num_sequences"] == str(model.engine.max_batch_size)
    assert given["max_num_tokens"] == str(model.engine.max_num_tokens)
    assert given["max_beam_width"] == str(model.engine.max_beam_width)
    assert given["normalize_log_probs"] == "false"
    window = model.shape.sliding_window
    assert given["max_attention_window_size"] == ("" if window is None else str(window))
    assert parameters(repository.read("preprocessing"))["engine"] == "executor-1.2.1"


def test_what_a_deployment_may_set_is_left_to_the_executor(tmp_path: Path) -> None:
    given = parameters(deploy(tmp_path, CATALOG["llama-2-70b"], "executor").read("tensorrt_llm"))
    # The checkpoint's tokenizer is none that replies can be guided by.
    guiding = {"guided_decoding_backend", "xgrammar_tokenizer_info_path"}
    assert {name for name, value in given.items() if not value} == {*EXECUTOR_OPTIONS, *guiding}


def test_the_executor_is_asked_by_the_committed_model_and_tensors(tmp_path: Path) -> None:
    repository = deploy(tmp_path, CATALOG["mistral-7b"], "executor")
    config, committed = repository.read("tensorrt_llm"), COMMITTED.read("tensorrt_llm")
    config.parameters.clear()
    committed.parameters.clear()
    assert config == committed
    assert repository.read("ensemble") == COMMITTED.read("ensemble")
    assert (repository.path / "tensorrt_llm" / "1" / "model.py").is_file()


def test_ranks_of_the_executor_are_started_as_those_of_the_cpp_backend(tmp_path: Path) -> None:
    repository = deploy(tmp_path, CATALOG["llama-2-70b"], "executor")
    deployment = read_deployment(repository, ["ensemble"])
    assert deployment.servers == 2
    assert deployment.engines[0].on_gpus


def test_the_catalogs_models_are_served_by_the_executor() -> None:
    assert {plan.runtime for model in CATALOG.values() for plan in model.engine_plans} == {
        "executor"
    }


@pytest.mark.parametrize("runtime", get_args(Runtime))
def test_the_command_line_chooses_the_runtime(
    tmp_path: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = CATALOG["llama-3-8b-instruct"]
    source = make_source(tmp_path / "source", model)
    engine = make_engine(tmp_path / "engine", model, model.engine, source)
    output = tmp_path / "deployment"
    served = CHECKPOINT if runtime == "reference" else source
    options = ["--checkpoint", str(served), "--output", str(output), "--runtime", runtime]
    if runtime != "reference":
        options += ["--engine", str(engine)]
    assert main(["assemble", model.name, *options]) == 0, capsys.readouterr().err
    given = ModelRepository(output / "model_repository").read("tensorrt_llm")
    found = given.parameters["runtime"].string_value
    assert (given.backend, found) == {
        "reference": ("python", "reference"),
        "executor": ("python", "executor"),
        "cpp": ("tensorrtllm", ""),
    }[runtime]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--runtime", "executor"], "runtime executor serves an engine; give it as --engine"),
        (
            ["--runtime", "reference", "--engine", "engine"],
            "runtime reference serves a checkpoint; leave out --engine",
        ),
    ],
)
def test_an_engine_too_many_or_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    paths = ["--checkpoint", str(CHECKPOINT), "--output", str(tmp_path / "out")]
    assert main(["assemble", "llama-3-8b-instruct", *paths, *options]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
