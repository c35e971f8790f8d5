"""The table of README parameters that the server tests of this room walk is whole."""

import pytest

from catalog import ModelEntry, load_catalog
from shim.parameters.table import generate_map
from support.readme_parameters import README_PARAMETERS

MODELS = load_catalog()


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_default_of_a_readme_has_another_value_in_the_table(model: ModelEntry) -> None:
    api, table = model.predict, README_PARAMETERS[model.name]
    defaults = api.defaults.model_dump(exclude_unset=True)
    defaults[api.length_parameter] = defaults.pop("max_new_tokens")
    assert defaults.keys() <= table.keys()
    assert all(table[name] != value for name, value in defaults.items())
    assert table.get("stream") != api.stream


def test_the_executor_is_refused_nothing_that_hugging_face_has() -> None:
    refused = {
        row.name: row.only for row in generate_map().values() if "executor-1.2.1" in row.only
    }
    assert refused == {}
