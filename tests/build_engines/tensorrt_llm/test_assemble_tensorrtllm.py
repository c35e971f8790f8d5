"""A deployment for the container: what TensorRT-LLM's C++ backend must find, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from build_engines.checkpoint.engine_config import EngineError
from build_engines.repository import ModelRepository, RepositoryError
from build_engines.tensorrt_llm.assemble import COMMITTED, assemble_tensorrtllm
from catalog import ModelEntry, load_catalog
from support.trtllm_engines import make_engine, make_source

CATALOG = load_catalog()
MISTRAL = CATALOG["mistral-7b"]
CONTRACT = json.loads((Path(__file__).parent / "tensorrt_llm_model_contract.json").read_text())
BOOLEANS = {"true", "false"}


def assemble(directory: Path, model: ModelEntry = MISTRAL, **changes: object) -> ModelRepository:
    """Assemble a model with an engine of its catalog plan, changed."""
    plan = model.engine.model_copy(update=changes)
    source = make_source(directory / "source", model)
    engine = make_engine(directory / "engine", model, plan, source)
    return assemble_tensorrtllm(
        model, plan, engine, source, directory / "deployment", runtime="cpp"
    )


def parameters(config: ModelConfig) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def dtype_name(value: int) -> str:
    name: str = model_config_pb2.DataType.Name(value)
    return name


@pytest.mark.parametrize("name", CATALOG)
def test_every_configuration_parses_and_is_of_the_model_of_its_folder(
    tmp_path: Path, name: str
) -> None:
    repository = assemble(tmp_path, CATALOG[name])
    assert repository.models == ["ensemble", "postprocessing", "preprocessing", "tensorrt_llm"]
    for model in repository.models:
        text = (repository.path / model / "config.pbtxt").read_text()
        assert text_format.Parse(text, ModelConfig()).name == model
        assert "${" not in text
        assert (repository.path / model / "1").is_dir()


@pytest.mark.parametrize("name", CATALOG)
def test_every_tensor_of_the_engine_is_the_contracts(tmp_path: Path, name: str) -> None:
    config = assemble(tmp_path, CATALOG[name]).read("tensorrt_llm")
    inputs: dict[str, dict[str, Any]] = {each["name"]: each for each in CONTRACT["inputs"]}
    outputs: dict[str, dict[str, Any]] = {each["name"]: each for each in CONTRACT["outputs"]}
    for tensor in config.input:
        expected = inputs[tensor.name]
        assert dtype_name(tensor.data_type) == expected["dtype"], tensor.name
        assert list(tensor.dims) == expected["dims"], tensor.name
        assert tensor.HasField("reshape") == ("reshape" in expected), tensor.name
        assert list(tensor.reshape.shape) == expected.get("reshape", []), tensor.name
        assert tensor.allow_ragged_batch == expected.get("ragged", False), tensor.name
        assert not (tensor.optional and not expected["optional"]), tensor.name
    for tensor in config.output:
        assert dtype_name(tensor.data_type) == outputs[tensor.name]["dtype"], tensor.name
        assert list(tensor.dims) == outputs[tensor.name]["dims"], tensor.name
    required = {name for name, each in inputs.items() if not each["optional"]}
    assert required <= {tensor.name for tensor in config.input}
    assert {"output_ids", "sequence_length"} <= {tensor.name for tensor in config.output}


@pytest.mark.parametrize("name", CATALOG)
def test_every_parameter_is_the_contracts_and_none_that_must_be_is_missing(
    tmp_path: Path, name: str
) -> None:
    given = parameters(assemble(tmp_path, CATALOG[name]).read("tensorrt_llm"))
    known: dict[str, dict[str, Any]] = CONTRACT["parameters"]
    assert set(given) <= set(known)
    assert {key for key, each in known.items() if each["key_must_exist"]} <= set(given)
    assert given["gpt_model_type"] == "inflight_fused_batching"
    assert (given["xgrammar_tokenizer_info_path"] == "") == (given["guided_decoding_backend"] == "")
    for key, value in given.items():
        kind = known[key]["type"]
        if kind == "bool":
            assert value in BOOLEANS, key
        elif kind.startswith("int"):
            assert int(value) >= 0, key
        elif kind.startswith("float"):
            assert 0 < float(value) <= 1, key
    assert given["batch_scheduler_policy"] in known["batch_scheduler_policy"]["allowed"]


def test_the_backend_is_asked_for_decoupled_and_with_a_queue_limit(tmp_path: Path) -> None:
    config = assemble(tmp_path).read("tensorrt_llm")
    assert config.backend == "tensorrtllm"
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size >= 1
    limit = COMMITTED.read("tensorrt_llm").parameters["max_queue_size"].string_value
    assert config.dynamic_batching.default_queue_policy.max_queue_size == int(limit) > 0
    assert parameters(config)["exclude_input_in_output"] == "true"


def test_log_probs_are_over_the_whole_vocabulary_as_the_reference_engines(tmp_path: Path) -> None:
    config = assemble(tmp_path).read("tensorrt_llm")
    assert parameters(config)["normalize_log_probs"] == "false"


def test_the_reference_engine_stays_out_of_the_version_folder(tmp_path: Path) -> None:
    repository = assemble(tmp_path)
    assert list((repository.path / "tensorrt_llm" / "1").iterdir()) == []
    for model in ("preprocessing", "postprocessing"):
        assert (repository.path / model / "1" / "model.py").is_file()


@pytest.mark.parametrize("name", CATALOG)
def test_a_sliding_window_is_told_to_the_backend(tmp_path: Path, name: str) -> None:
    given = parameters(assemble(tmp_path, CATALOG[name]).read("tensorrt_llm"))
    window = "4096" if name in ("mistral-7b", "zephyr-7b-beta") else None
    assert given.get("max_attention_window_size") == window


@pytest.mark.parametrize(("max_seq_len", "chunked"), [(4096, "false"), (8192, "true")])
def test_a_prompt_longer_than_a_step_is_read_in_chunks(
    tmp_path: Path, max_seq_len: int, chunked: str
) -> None:
    repository = assemble(tmp_path, max_seq_len=max_seq_len, max_num_tokens=4096)
    given = parameters(repository.read("tensorrt_llm"))
    assert given["enable_chunked_context"] == chunked


@pytest.mark.parametrize("name", CATALOG)
def test_the_limits_of_the_engine_are_preprocessings(tmp_path: Path, name: str) -> None:
    repository = assemble(tmp_path, CATALOG[name], max_seq_len=2048, max_beam_width=2)
    given = parameters(repository.read("preprocessing"))
    assert given["max_seq_len"] == "2048"
    assert given["max_beam_width"] == "2"
    assert given["engine"] == "tensorrtllm-1.2.1"
    assert parameters(repository.read("tensorrt_llm"))["max_beam_width"] == "2"


def test_the_tokenizer_is_copied_beside_without_weights(tmp_path: Path) -> None:
    repository = assemble(tmp_path)
    tokenizer = tmp_path / "deployment" / "tokenizer"
    assert sorted(path.name for path in tokenizer.iterdir()) == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for model in ("preprocessing", "tensorrt_llm", "postprocessing"):
        assert parameters(repository.read(model))["tokenizer_dir"] == str(tokenizer)


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "source", MISTRAL)
    make_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine, source)
    monkeypatch.chdir(tmp_path)
    repository = assemble_tensorrtllm(
        MISTRAL, MISTRAL.engine, Path("engine"), Path("source"), Path("deployment"), runtime="cpp"
    )
    given = parameters(repository.read("tensorrt_llm"))
    assert given["gpt_model_path"] == str(tmp_path / "engine")
    assert given["tokenizer_dir"] == str(tmp_path / "deployment" / "tokenizer")


def test_what_the_backend_would_misread_is_connected_nowhere(tmp_path: Path) -> None:
    repository = assemble(tmp_path)
    unread = {"num_return_sequences", "runtime_top_p_min"}
    misread = unread | set(CONTRACT["broken_in_1_2_x"]["binding"])
    assert not misread & {tensor.name for tensor in repository.read("tensorrt_llm").input}
    preprocessing, engine, _ = repository.read("ensemble").ensemble_scheduling.step
    assert not misread & set(engine.input_map)
    outputs = {
        "OUT_LENGTH_PENALTY",
        "OUT_EARLY_STOPPING",
        "OUT_NO_REPEAT_NGRAM_SIZE",
        "OUT_TOP_P_MIN",
    }
    assert not outputs & set(preprocessing.output_map)


def test_what_is_taken_from_the_engine_is_still_asked_of_preprocessing(tmp_path: Path) -> None:
    """It refuses such a request with the reason, where the backend would say nothing."""
    ensemble = assemble(tmp_path).read("ensemble")
    preprocessing = ensemble.ensemble_scheduling.step[0]
    for name in ("length_penalty", "early_stopping", "no_repeat_ngram_size", "top_p_min"):
        assert name in preprocessing.input_map.values()
        assert name in {tensor.name for tensor in ensemble.input}


def test_the_ensemble_connects_only_tensors_that_exist(tmp_path: Path) -> None:
    repository = assemble(tmp_path)
    ensemble = repository.read("ensemble")
    available = {tensor.name for tensor in ensemble.input}
    consumed = {tensor.name for tensor in ensemble.output}
    for step in ensemble.ensemble_scheduling.step:
        model = repository.read(step.model_name)
        inputs = {tensor.name: tensor for tensor in model.input}
        assert set(step.input_map) <= set(inputs)
        assert {name for name, each in inputs.items() if not each.optional} <= set(step.input_map)
        assert set(step.input_map.values()) <= available
        assert set(step.output_map) <= {tensor.name for tensor in model.output}
        available |= set(step.output_map.values())
        consumed |= set(step.input_map.values())
    assert available <= consumed


def test_the_committed_repository_is_not_changed(tmp_path: Path) -> None:
    before = {model: COMMITTED.read(model).SerializeToString() for model in COMMITTED.models}
    assemble(tmp_path)
    assert {m: COMMITTED.read(m).SerializeToString() for m in COMMITTED.models} == before
    assert (COMMITTED.path / "tensorrt_llm" / "1" / "model.py").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tp_size": 2}, "tp_size is 1, planned is 2.*rank1.engine is missing"),
        ({"max_seq_len": 8192}, "max_seq_len is 4096, planned is 8192"),
        ({"quantization": "int8"}, "quantization is None, planned is W8A16"),
    ],
)
def test_an_engine_of_another_plan_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    source = make_source(tmp_path / "source", MISTRAL)
    engine = make_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine, source)
    plan = MISTRAL.engine.model_copy(update=change)
    with pytest.raises(EngineError, match=reason):
        assemble_tensorrtllm(MISTRAL, plan, engine, source, tmp_path / "deployment", runtime="cpp")
    assert not (tmp_path / "deployment").exists()


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    llama = CATALOG["llama-3-8b-instruct"]
    source = make_source(tmp_path / "source", llama)
    engine = make_engine(tmp_path / "engine", llama, llama.engine, source)
    other = make_source(tmp_path / "other", CATALOG["llama-2-70b"])
    with pytest.raises(EngineError, match=r"vocab_size 128256, but .* has 32000"):
        assemble_tensorrtllm(
            llama, llama.engine, engine, other, tmp_path / "deployment", runtime="cpp"
        )


def test_a_checkpoint_without_a_tokenizer_leaves_no_deployment(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", MISTRAL)
    engine = make_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine, source)
    (source / "tokenizer.json").unlink()
    with pytest.raises(RepositoryError, match=r"has no tokenizer \(tokenizer\.json or"):
        assemble_tensorrtllm(
            MISTRAL, MISTRAL.engine, engine, source, tmp_path / "deployment", runtime="cpp"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "source"]


def test_an_existing_destination_is_left_alone(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", MISTRAL)
    engine = make_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine, source)
    with pytest.raises(RepositoryError, match="exists; remove it"):
        assemble_tensorrtllm(MISTRAL, MISTRAL.engine, engine, source, source, runtime="cpp")
