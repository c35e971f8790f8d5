import pytest
from pydantic import ValidationError

from shim.settings import Settings


def refusal(**fields: object) -> str:
    valid = {
        "triton_address": "127.0.0.1:8001",
        "models": {"mistral-7b": "ensemble"},
        "default_model": "mistral-7b",
    }
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(valid | fields)
    return str(raised.value)


def test_a_model_must_be_in_the_catalog() -> None:
    assert "gpt-2 not in the catalog, which has llama-2-70b" in refusal(
        models={"mistral-7b": "ensemble", "gpt-2": "ensemble"}
    )


def test_the_default_must_be_served() -> None:
    assert "zephyr-7b-beta is not among the served models mistral-7b" in refusal(
        default_model="zephyr-7b-beta"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:8001", ""])
def test_an_address_is_host_and_port(address: str) -> None:
    assert "triton_address" in refusal(triton_address=address)


def test_an_unknown_setting_is_refused() -> None:
    assert "trition_address" in refusal(trition_address="127.0.0.1:8001")
