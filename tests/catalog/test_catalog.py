"""The catalog says what the READMEs say, and a bad file is refused with file, field and reason."""

from pathlib import Path

import pytest

from catalog import CatalogError, load_catalog, load_model
from catalog.load import CATALOG_DIRECTORY
from support.five_models import FIVE

README_DEFAULTS = {
    "stablelm-zephyr-3b": {
        "max_new_tokens": 4096,
        "temperature": 1.0,
        "top_p": 0.95,
        "top_k": 40,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
    },
    "mistral-7b": {"max_new_tokens": 512, "temperature": 0.1, "top_p": 0.75, "top_k": 40},
    "llama-3-8b-instruct": {
        "max_new_tokens": 512,
        "temperature": 0.1,
        "top_p": 0.75,
        "top_k": 40,
        "num_beams": 4,
    },
    "llama-2-70b": {
        "max_new_tokens": 512,
        "temperature": 0.1,
        "top_p": 0.75,
        "top_k": 40,
        "num_beams": 4,
    },
    "zephyr-7b-beta": {"max_new_tokens": 256, "temperature": 0.7, "top_p": 0.95, "top_k": 50},
}
ROUTES = {
    # name: input, stream, reply, length_parameter
    "stablelm-zephyr-3b": ("messages", True, "output", "max_new_tokens"),
    "mistral-7b": ("prompt", False, "string", "max_new_tokens"),
    "llama-3-8b-instruct": ("messages", False, "output", "max_tokens"),
    "llama-2-70b": ("prompt", False, "string", "max_new_tokens"),
    "zephyr-7b-beta": ("messages", False, "response", "max_new_tokens"),
}


def test_the_five_models_are_there() -> None:
    assert set(README_DEFAULTS) == set(ROUTES) == FIVE <= set(load_catalog())


@pytest.mark.parametrize("name", README_DEFAULTS)
def test_a_model_has_the_defaults_of_its_readme(name: str) -> None:
    defaults = load_catalog()[name].predict.defaults.model_dump()
    assert {key: defaults[key] for key in README_DEFAULTS[name]} == README_DEFAULTS[name]


@pytest.mark.parametrize("name", ROUTES)
def test_a_model_has_the_route_of_its_readme(name: str) -> None:
    predict = load_catalog()[name].predict
    assert (predict.input, predict.stream, predict.reply, predict.length_parameter) == ROUTES[name]


def test_zephyr_has_its_query_and_code_doc_defaults() -> None:
    zephyr = load_catalog()["zephyr-7b-beta"].zephyr
    assert zephyr is not None
    for defaults in (zephyr.query, zephyr.code_doc):
        assert defaults.model_dump(include={"max_new_tokens", "temperature", "top_k", "top_p"}) == {
            "max_new_tokens": 256,
            "temperature": 0.7,
            "top_k": 50,
            "top_p": 0.95,
        }
        assert defaults.do_sample
    assert (zephyr.language, zephyr.include_comments) == ("python", True)


def test_of_the_five_only_llama_2_70b_is_split_over_two_gpus() -> None:
    sizes = {name: load_catalog()[name].engine.tp_size for name in README_DEFAULTS}
    assert sizes == {**dict.fromkeys(README_DEFAULTS, 1), "llama-2-70b": 2}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('reply = "string"', 'reply = "xml"', "predict.reply: Input should be"),
        ("top_k = 40", 'top_k = "40"', "predict.defaults.top_k: Input should be a valid integer"),
        ("top_k = 40", "topk = 40", "predict.defaults.topk: Extra inputs are not permitted"),
        ("top_p = 0.75", "top_p = 1.5", "predict.defaults.top_p: Input should be less than"),
        ("temperature = 0.1", "temperature = nan", "predict.defaults.temperature: Input should be"),
        ('title = "Mistral 7B"', "", "title: Field required"),
        ("tp_size = 1", "tp_size = 3", "engine.tp_size 3 does not divide"),
        ("max_seq_len = 4096", "max_seq_len = 1", "engine.max_seq_len: Input should be greater"),
        ('name = "mistral-7b"', 'name = "mistral"', "name: is 'mistral' but must equal"),
        ("[predict]", "[predict", "Expected ']'"),
    ],
)
def test_a_bad_file_is_refused_with_file_field_and_reason(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    good = (CATALOG_DIRECTORY / "mistral-7b.toml").read_text()
    assert before in good
    path = tmp_path / "mistral-7b.toml"
    path.write_text(good.replace(before, after, 1))
    with pytest.raises(CatalogError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_an_empty_catalog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="holds no model file"):
        load_catalog(tmp_path)
