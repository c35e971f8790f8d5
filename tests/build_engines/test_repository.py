"""The committed configurations are whole, and are changed by their fields alone."""

from pathlib import Path

import pytest

from build_engines.repository import ModelRepository, RepositoryError
from build_engines.tensorrt_llm.assemble import COMMITTED

MODELS = ["ensemble", "postprocessing", "preprocessing", "tensorrt_llm"]


def test_the_repository_holds_the_four_models() -> None:
    assert COMMITTED.models == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_parses_and_has_its_version_folder(model: str) -> None:
    config = COMMITTED.read(model)
    assert config.name == model
    assert (COMMITTED.path / model / "1").is_dir()
    assert "${" not in (COMMITTED.path / model / "config.pbtxt").read_text()


def test_the_ensemble_connects_tensors_that_exist_and_have_one_type() -> None:
    ensemble = COMMITTED.read("ensemble")
    types = {tensor.name: tensor.data_type for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = COMMITTED.read(step.model_name)
        inputs = {tensor.name: tensor for tensor in model.input}
        outputs = {tensor.name: tensor.data_type for tensor in model.output}
        for name, source in step.input_map.items():
            assert types[source] == inputs[name].data_type, f"{step.model_name}.{name}"
        required = {name for name, tensor in inputs.items() if not tensor.optional}
        assert required <= set(step.input_map), step.model_name
        types.update({target: outputs[name] for name, target in step.output_map.items()})
    assert {tensor.name: tensor.data_type for tensor in ensemble.output}.items() <= types.items()


def test_every_input_of_the_ensemble_reaches_a_step() -> None:
    ensemble = COMMITTED.read("ensemble")
    used = {
        source for step in ensemble.ensemble_scheduling.step for source in step.input_map.values()
    }
    assert {tensor.name for tensor in ensemble.input} <= used


def test_postprocessing_keeps_the_order_of_a_stream() -> None:
    config = COMMITTED.read("postprocessing")
    assert [group.count for group in config.instance_group] == [1]
    assert config.dynamic_batching.preserve_ordering


def test_a_parameter_is_set_and_everything_else_kept(tmp_path: Path) -> None:
    copy = COMMITTED.copy_to(tmp_path / "copy")
    before = copy.read("tensorrt_llm")
    copy.set_parameters("tensorrt_llm", {"max_beam_width": "2"})
    after = copy.read("tensorrt_llm")
    assert after.parameters["max_beam_width"].string_value == "2"
    after.parameters["max_beam_width"].CopyFrom(before.parameters["max_beam_width"])
    assert after == before


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    copy = COMMITTED.copy_to(tmp_path / "copy")
    with pytest.raises(RepositoryError, match="no parameter 'max_beam_widht'"):
        copy.set_parameters("tensorrt_llm", {"max_beam_widht": "2"})


def test_a_configuration_that_does_not_parse_is_named(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "config.pbtxt").write_text("max_batch_size: many")
    with pytest.raises(RepositoryError, match=r"echo/config\.pbtxt"):
        ModelRepository(tmp_path).read("echo")
