"""`python -m build_engines`: results on stdout, reasons on stderr, exit codes 0, 1 and 2."""

import io
import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from build_engines.__main__ import main
from build_engines.checkpoint.fetch import fetch
from build_engines.checkpoint.progress import ProgressBar
from build_engines.engine_directories import EngineDirectories
from build_engines.repository import ModelRepository
from catalog import load_catalog
from support.hub import Hub, serve
from support.nvidia_tools import A10G, install
from support.tiny_models import checkpoint_of

ZEPHYR = "zephyr-7b-beta"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plan_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mistral-7b"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("mistral-7b on 1 x A10G float16\n")
    assert "53,152" in output


def test_plan_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--gpu", "H100", "--quantization", "fp8", "--context", "8192", "--json"]
    assert main(["plan", "mistral-7b", *options]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["kv_bytes_per_token"] == 65_536
    assert plan["engine"]["max_seq_len"] == 8192


def test_a_refused_plan_is_an_error_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "llama-2-70b", "--gpu", "A100-40"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: llama-2-70b: does not fit 2 x A100-40 float16: ")
    assert "2 x A100-40 int8" in captured.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["plan", "gpt-4"], "invalid choice: 'gpt-4'"),
        (["plan", ZEPHYR, "--gpu", "T4"], "invalid choice: 'T4'"),
        (["plan", ZEPHYR, "--tp", "0"], "'0' is not a positive whole number"),
        (["build", ZEPHYR, "--output", "engine"], "required: --checkpoint"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "build_engines", "plan", "llama-2-70b", "--tp", "3"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: llama-2-70b: 3 GPUs cannot share")


def test_a_checkpoint_becomes_a_deployment_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    source = tmp_path / "source"
    source.mkdir()
    for path in checkpoint_of(ZEPHYR).iterdir():
        (source / path.name).symlink_to(path)
    (source / "tokenizer.json").write_text("{}")
    converted, engine, deployment = (
        str(tmp_path / name) for name in ("converted", "engine", "deployment")
    )
    engine_options = ["--quantization", "int8", "--context", "2048"]
    for step in (
        ["convert", ZEPHYR, "--checkpoint", str(source), "--output", converted, *engine_options],
        ["verify", converted],
        ["build", ZEPHYR, "--checkpoint", converted, "--output", engine, *engine_options],
        ["verify", engine],
        [
            *("assemble", ZEPHYR, "--engine", engine, "--checkpoint", str(source)),
            *("--output", deployment, *engine_options),
        ],
    ):
        assert main(step) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f"{deployment}/model_repository"
    assert f"warning: {source}: its vocabulary is 301, that of {ZEPHYR} in the catalog 32000" in (
        captured.err
    )
    config = ModelRepository(Path(deployment) / "model_repository").read("tensorrt_llm")
    assert config.parameters["gpt_model_path"].string_value == engine
    assert main(["assemble", ZEPHYR, "--engine", engine, "--checkpoint", str(source),
                 "--output", str(tmp_path / "other")]) == 1  # fmt: skip
    assert "max_seq_len is 2048, planned is 4096" in capsys.readouterr().err


def test_an_engine_is_prepared_in_one_go_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    root, kind = tmp_path / "models", tmp_path / "models" / ZEPHYR / "a10g-tp1-int8-1.2.1"
    command = ["prepare", ZEPHYR, "--root", str(root), "--quantization", "int8"]
    files = {path.name: path.read_bytes() for path in checkpoint_of(ZEPHYR).iterdir()}
    with serve(Hub(load_catalog()[ZEPHYR].checkpoint, files)) as hub:
        from_hub = partial(fetch, endpoint=hub.url)
        monkeypatch.setattr("build_engines.checkpoint.fetch.fetch", from_hub)
        monkeypatch.setenv("STAND_IN_FAILURE", "out of memory")
        assert main(command) == 1
        assert (kind / "converted").is_dir()
        assert not (kind / "engine").exists()
        asked = len(hub.downloads)
        monkeypatch.delenv("STAND_IN_FAILURE")
        assert main(command) == 0
        assert main(command) == 0
        assert len(hub.downloads) == asked
    assert capsys.readouterr().out.splitlines()[-1] == str(kind / "engine")
    assert sorted(each.name for each in kind.iterdir()) == ["engine", "engine.log"]


def test_two_that_prepare_one_model_wait_for_each_other(tmp_path: Path) -> None:
    model = load_catalog()[ZEPHYR]
    directories = EngineDirectories.of(tmp_path, model, model.engine)
    order = []

    def wait() -> None:
        with directories.locked():
            order.append("second")

    with directories.locked():
        second = threading.Thread(target=wait)
        second.start()
        second.join(0.2)
        order.append("first")
    second.join()
    assert order == ["first", "second"]


def test_a_calibrated_conversion_is_refused_by_what_it_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = ["convert", ZEPHYR, "--checkpoint", str(checkpoint_of(ZEPHYR)), "--quantization", "fp8"]
    output = ["--output", str(tmp_path / "fp8")]
    assert main([*step, *output]) == 1
    assert "an A10G does not compute in FP8; what works: " in capsys.readouterr().err
    assert main([*step, *output, "--gpu", "H100"]) == 1
    assert "has no tokenizer, which calibration needs" in capsys.readouterr().err
    assert main([*step, *output, "--gpu", "H100", "--calibration", str(tmp_path / "no")]) == 1
    assert "calibration text: No such file" in capsys.readouterr().err
    plain = ["convert", ZEPHYR, "--checkpoint", str(checkpoint_of(ZEPHYR)), *output]
    assert main([*plain, "--kv-cache-dtype", "fp8"]) == 1
    assert "an FP8 KV cache comes with weights in fp8 or int4_awq only" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    converted, engine = tmp_path / "converted", tmp_path / "engine"
    source = str(checkpoint_of(ZEPHYR))
    assert main(["convert", ZEPHYR, "--checkpoint", source, "--output", str(converted)]) == 0
    with (converted / "rank0.safetensors").open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        last = file.read(1)
        file.seek(-1, io.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    capsys.readouterr()
    assert main(["verify", str(converted)]) == 1
    assert "has changed since the conversion" in capsys.readouterr().out
    build_step = ["build", ZEPHYR, "--checkpoint", str(converted), "--output", str(engine)]
    assert main(build_step) == 1
    assert "has changed since the conversion" in capsys.readouterr().err
    assert not engine.exists()


def test_a_terminal_sees_one_line_that_fills() -> None:
    output = Terminal()
    progress = ProgressBar("converting", output)
    for done in (0, 2**29, 2**30):
        progress(done, 2**30)
    lines = output.getvalue().split("\r")
    assert lines[1].startswith("converting [........................] 0.00 of 1.00 GiB")
    assert "time left unknown" in lines[1]
    assert lines[-1].startswith("converting [########################] 1.00 of 1.00 GiB")
    assert output.getvalue().count("\n") == 1


def test_a_log_gets_the_first_and_the_last_state_of_a_short_copy() -> None:
    output = io.StringIO()
    progress = ProgressBar("converting", output)
    for done in range(101):
        progress(done, 100)
    assert len(output.getvalue().splitlines()) == 2
    assert "\r" not in output.getvalue()
