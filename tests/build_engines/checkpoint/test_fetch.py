"""Fetching from a hub: the right files, once, with help for who is not let in."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.fetch import FetchError, fetch, select_files
from build_engines.checkpoint.huggingface_config import CheckpointError
from support import tiny_models
from support.hub import COMMIT, Hub, serve

SHAPE = "llama-3-8b-instruct"
MODEL = tiny_models.model_of(SHAPE)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    checkpoint = tiny_models.checkpoint_of(SHAPE)
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    files |= {"tokenizer.json": b"{}", "README.md": b"about", "consolidated.00.pth": b"1" * 999}
    with serve(Hub(MODEL.checkpoint, files)) as hub:
        yield hub


def test_what_is_fetched_converts_and_says_where_it_came_from(hub: Hub, tmp_path: Path) -> None:
    snapshot = fetch(MODEL, tmp_path / "source", endpoint=hub.url)
    assert (snapshot.repository, snapshot.revision) == (MODEL.checkpoint, COMMIT)
    manifest = convert(MODEL, tmp_path / "source", tmp_path / "out")
    assert manifest.source.snapshot == snapshot


def test_only_the_files_that_are_used_are_fetched(hub: Hub, tmp_path: Path) -> None:
    fetch(MODEL, tmp_path, endpoint=hub.url)
    fetched = {name for name, _ in hub.downloads}
    assert fetched == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_fetching_again_downloads_nothing(hub: Hub, tmp_path: Path) -> None:
    fetch(MODEL, tmp_path, endpoint=hub.url)
    hub.downloads.clear()
    fetch(MODEL, tmp_path, endpoint=hub.url)
    assert hub.downloads == []


@pytest.fixture
def flaky_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Cuts connections in the middle of the weights."""
    # What the library does in pieces of 10 MB, with pauses between retries.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.break_at = 1000
    return hub


def test_a_connection_that_breaks_is_taken_up_at_the_same_byte(
    flaky_hub: Hub, tmp_path: Path
) -> None:
    flaky_hub.breaks = 1
    fetch(MODEL, tmp_path, endpoint=flaky_hub.url)
    weights = [start for name, start in flaky_hub.downloads if name == "model.safetensors"]
    assert weights == [0, 1000]
    assert (tmp_path / "model.safetensors").read_bytes() == flaky_hub.files["model.safetensors"]


def test_after_a_failure_only_what_is_missing_is_fetched(flaky_hub: Hub, tmp_path: Path) -> None:
    flaky_hub.breaks = 1000
    (tmp_path / "snapshot.json").write_text("of another commit")
    with pytest.raises(FetchError, match="run this again"):
        fetch(MODEL, tmp_path, endpoint=flaky_hub.url)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "snapshot.json").exists()
    flaky_hub.breaks = 0
    flaky_hub.downloads.clear()
    fetch(MODEL, tmp_path, endpoint=flaky_hub.url)
    assert flaky_hub.downloads == [("model.safetensors", 0)]


def test_a_gated_model_without_a_token_says_how_to_get_access(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    with pytest.raises(FetchError) as error:
        fetch(MODEL, tmp_path, endpoint=hub.url)
    for part in ("accept the licence", f"huggingface.co/{MODEL.checkpoint}", "HF_TOKEN"):
        assert part in str(error.value)


def test_a_gated_model_is_fetched_with_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    fetch(MODEL, tmp_path, token="hf_secret", endpoint=hub.url)
    assert (tmp_path / "model.safetensors").is_file()


def test_a_token_without_access_is_told_apart_from_none(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(FetchError, match="the account of HF_TOKEN has no access"):
        fetch(MODEL, tmp_path, endpoint=hub.url)


def test_an_unknown_repository_is_an_error(hub: Hub, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"checkpoint": "nobody/nothing", "gated": False})
    with pytest.raises(FetchError, match="nobody/nothing: not found, or not public"):
        fetch(model, tmp_path, endpoint=hub.url)


def test_a_hub_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    with serve(Hub("nobody/nothing", {})) as closed:
        url = closed.url
    with pytest.raises(FetchError, match="run this again"):
        fetch(MODEL, tmp_path, endpoint=url)


def test_a_repository_without_weights_is_an_error(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(FetchError, match="holds no weights"):
        fetch(MODEL, tmp_path, endpoint=hub.url)


def test_a_disk_without_room_is_an_error_before_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.claimed_sizes["model.safetensors"] = 1 << 60
    with pytest.raises(FetchError, match="its disk has"):
        fetch(MODEL, tmp_path, endpoint=hub.url)
    assert hub.downloads == []


def test_a_repository_that_cannot_be_converted_is_an_error(hub: Hub, tmp_path: Path) -> None:
    config = json.loads(hub.files["config.json"])
    hub.files["config.json"] = json.dumps(config | {"attention_bias": True}).encode()
    with pytest.raises(CheckpointError, match="attention_bias"):
        fetch(MODEL, tmp_path, endpoint=hub.url)


@pytest.mark.parametrize(
    ("weights", "ignored"),
    [
        (["model.safetensors"], ["consolidated.safetensors", "pytorch_model.bin"]),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
        ),
        (["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"], ["rust_model.ot"]),
    ],
)
def test_one_format_of_the_weights_is_selected(weights: list[str], ignored: list[str]) -> None:
    small = ["config.json", "tokenizer.model"]
    assert select_files([*ignored, *weights, *small, "README.md"]) == weights + small
