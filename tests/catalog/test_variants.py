"""Plans for other hardware say only what differs from the default plan."""

from pathlib import Path

import pytest

from catalog import CatalogError, load_catalog, load_model
from catalog.load import CATALOG_DIRECTORY


def test_a_variant_inherits_what_it_leaves_out() -> None:
    model = load_catalog()["mistral-7b"]
    (variant,) = model.variants
    differing = {
        name: value
        for name, value in variant.model_dump().items()
        if value != getattr(model.engine, name)
    }
    assert differing == {
        "gpu": "H100",
        "quantization": "fp8",
        "kv_cache_dtype": "fp8",
        "max_batch_size": 256,
        "max_num_tokens": 8192,
    }


def test_the_default_plan_comes_first() -> None:
    for model in load_catalog().values():
        assert model.engine_plans == [model.engine, *model.variants]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('gpu = "T4"', "variants.0.gpu: Input should be 'A10G'"),
        ("gpus = 2", "variants.0.gpus: Extra inputs are not permitted"),
        ("tp_size = 3", "variants.0.tp_size 3 does not divide"),
        ("max_seq_len = 65536", "variants.0.max_seq_len 65536 exceeds"),
    ],
)
def test_a_bad_variant_is_refused_by_its_place(tmp_path: Path, line: str, reason: str) -> None:
    good = (CATALOG_DIRECTORY / "mistral-7b.toml").read_text().partition("[[variants]]")[0]
    path = tmp_path / "mistral-7b.toml"
    path.write_text(f"{good}[[variants]]\n{line}\n")
    with pytest.raises(CatalogError) as caught:
        load_model(path)
    assert reason in str(caught.value)


def test_a_variant_that_is_no_table_is_refused(tmp_path: Path) -> None:
    good = (CATALOG_DIRECTORY / "mistral-7b.toml").read_text().partition("[[variants]]")[0]
    path = tmp_path / "mistral-7b.toml"
    path.write_text(f"variants = [1]\n{good}")
    with pytest.raises(CatalogError, match=r"variants\.0: Input should be"):
        load_model(path)
