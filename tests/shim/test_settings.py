from pathlib import Path

import pytest
from pydantic import ValidationError

from shim.settings import Settings, SettingsError, read_settings


def refusal(**fields: object) -> str:
    valid = {
        "triton_addresses": "127.0.0.1:8001",
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
    assert "triton_addresses" in refusal(triton_addresses=address)


def test_an_unknown_setting_is_refused() -> None:
    assert "trition_address" in refusal(trition_address="127.0.0.1:8001")


def test_the_environment_sets_what_the_command_line_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AEOLUS_TRITON_ADDRESSES", "a:1, b:2")
    monkeypatch.setenv("AEOLUS_MODELS", '{"mistral-7b": "mistral"}')
    monkeypatch.setenv("AEOLUS_PORT", "1")
    settings = read_settings(port=2)
    assert settings.triton_addresses == ["a:1", "b:2"]
    assert settings.models == {"mistral-7b": "mistral"}
    assert settings.answers_by_default == "mistral-7b"
    assert settings.port == 2


def test_a_file_sets_what_the_environment_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "aeolus.toml").write_text(
        'port = 1\nmax_running = 7\ntriton_addresses = ["c:3"]\n[models]\nmistral-7b = "m"\n'
    )
    monkeypatch.setenv("AEOLUS_CONFIG", str(tmp_path / "aeolus.toml"))
    monkeypatch.setenv("AEOLUS_PORT", "2")
    settings = read_settings()
    assert (settings.port, settings.max_running) == (2, 7)
    assert settings.triton_addresses == ["c:3"]
    assert settings.models == {"mistral-7b": "m"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("AEOLUS_MAX_RUNING", "1", "no such setting; did you mean AEOLUS_MAX_RUNNING?"),
        ("AEOLUS_MAX_RUNNING", "0", "max_running: Input should be greater than 0"),
        ("AEOLUS_CONFIG", "/nowhere.toml", "AEOLUS_CONFIG=/nowhere.toml: there is no such file"),
        ("AEOLUS_API_KEYS", '{"ann": "hunter2"}', "api_keys: ann: Value should have at least 16"),
        ("AEOLUS_RATE_LIMIT_PER_MINUTE", "5", "is for each API key, and there are none"),
        ("AEOLUS_HOST", "0.0.0.0", "set AEOLUS_API_KEYS or AEOLUS_API_KEYS_FILE"),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert reason in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "more", [{"allow_anonymous": True}, {"api_keys": {"ann": "0123456789abcdef"}}]
)
@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::"])
def test_an_open_address_is_served_with_keys_or_on_purpose(
    host: str, more: dict[str, object]
) -> None:
    assert read_settings(host=host, **more).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert read_settings(host=host).all_api_keys() == {}


def test_keys_come_from_setting_and_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('bob = "bob-bob-bob-bob-1"\n')
    settings = read_settings(api_keys={"ann": "ann-ann-ann-ann-1"}, api_keys_file=file)
    assert settings.all_api_keys() == {"ann": "ann-ann-ann-ann-1", "bob": "bob-bob-bob-bob-1"}
    assert "ann-ann" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('bob = "secret"', "each key of at least 16 characters"),
        ("secret", "lines of name"),
        ('ann = "secret-secret-secret"', "ann has a key in api_keys, too"),
        ('bob = "ann-ann-ann-ann-1"', "two names have the same key"),
    ],
)
def test_a_file_of_keys_that_is_wrong_is_refused_without_showing_it(
    tmp_path: Path, content: str, reason: str
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(content)
    with pytest.raises(SettingsError) as raised:
        read_settings(api_keys={"ann": "ann-ann-ann-ann-1"}, api_keys_file=file)
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)


def test_priorities_are_of_the_holders_of_keys() -> None:
    assert "no API key is called bob" in refusal(
        api_keys={"ann": "correct-horse-battery"}, priority_limits={"bob": 1.0}
    )
    assert "priority_limits" in refusal(
        api_keys={"ann": "correct-horse-battery"}, priority_limits={"ann": 1.5}
    )
