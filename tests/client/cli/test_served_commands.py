"""The client's commands on a real service, and on its Triton."""

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aeolus_client.cli import main
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.metrics import stopped_before, wait_for_active_requests
from support.terminal import Terminal

pytestmark = pytest.mark.server

QUESTION = "What is a zephyr?"
GREEDY = ("-p", "do_sample=false", "-p", "num_beams=1")
SECONDS = 120.0
TOKENS = 3500
Captured = pytest.CaptureFixture[str]


@pytest.fixture(params=["http", "grpc", "triton+http"])
def url(request: pytest.FixtureRequest, shim_url: str, triton: TritonServer) -> str:
    urls = {
        "http": shim_url,
        "grpc": f"grpc://{triton.grpc_address}",
        "triton+http": f"triton+{triton.http_url}",
    }
    return urls[request.param]


def output(capsys: Captured, *arguments: str, code: int = 0) -> str:
    """What a command prints; it must end with `code`."""
    assert main(list(arguments)) == code, capsys.readouterr().err
    return capsys.readouterr().out


def test_ask_prints_the_reply(capsys: Captured, url: str) -> None:
    shown = output(capsys, "ask", QUESTION, "--url", url, *GREEDY)
    assert "breeze" in shown
    found = json.loads(output(capsys, "ask", QUESTION, "--url", url, *GREEDY, "--json"))
    assert found["text"] == shown.removesuffix("\n")
    assert found["finish_reason"] == "stop"
    cut = json.loads(output(capsys, "ask", QUESTION, "--url", url, "--max-tokens", "5", "--json"))
    assert cut["completion_tokens"] == 5


def test_ask_takes_a_system_message_or_a_raw_prompt(capsys: Captured, url: str) -> None:
    counts = [
        json.loads(output(capsys, "ask", QUESTION, "--url", url, "--json", *GREEDY, *more))
        for more in ((), ("--system", "Be brief."), ("--raw",))
    ]
    plain, with_system, raw = (each["prompt_tokens"] for each in counts)
    assert raw < plain < with_system


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["ask", QUESTION, "-p", "top_p=7"], 2, "error: top_p"),
        (["ask", QUESTION, "-p", "warmth=3"], 2, "'warmth'"),
        (["ask", QUESTION, "-m", "gpt-4"], 2, "gpt-4"),
        (["ask", QUESTION, "-p", "warm"], 2, "give NAME=VALUE"),
        (["predict", "-d", "{"], 2, "no JSON"),
        (["predict", "-d", "[]"], 2, "not a JSON object"),
        (["predict"], 2, "by -d or by -f"),
        (["bench", "-c", "1", "-r", "1"], 2, "--concurrency or --rate"),
        (["bench", "--prompt-tokens", "9:3"], 2, "9:3"),
        (["bench", "--output-tokens", ""], 2, "invalid literal"),
        (["bench", "--prompts", __file__, "--prompt-tokens", "9"], 2, "--prompts or --prompt-t"),
        (["bench", "--plot", "/no/such/directory/plot.svg"], 2, "/no/such/directory is no"),
        (["ask", QUESTION, "--timeout", "0.001"], 3, "error: not done after 0.001 s"),
    ],
)
def test_what_is_wrong_is_said_with_the_fitting_exit_code(
    capsys: Captured, shim_url: str, arguments: list[str], code: int, reason: str
) -> None:
    assert main([*arguments, "--url", shim_url]) == code
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.out == ""


def test_a_server_that_is_away_has_an_exit_code_of_its_own(capsys: Captured) -> None:
    away = f"http://127.0.0.1:{free_ports().http}"
    assert main(["models", "--url", away]) == 3
    assert "cannot be reached" in capsys.readouterr().err
    assert main(["models", "--url", "nonsense"]) == 2


def test_predict_does_what_the_readmes_do(capsys: Captured, shim_url: str, tmp_path: Path) -> None:
    body: dict[str, Any] = {"prompt": "The wind", "max_new_tokens": 8, "do_sample": False}
    data = json.dumps(body)
    whole = output(capsys, "predict", "-d", data, "-m", "mistral-7b", "--url", shim_url)
    assert whole.startswith("The wind")
    streamed = json.dumps(body | {"stream": True})
    (tmp_path / "body.json").write_text(streamed)
    options = ("-m", "mistral-7b", "--url", shim_url)
    text = output(capsys, "predict", "-f", str(tmp_path / "body.json"), *options)
    assert whole.endswith(text)
    found = json.loads(output(capsys, "predict", "-d", data, *options, "--json"))
    assert (found["output"], found["completion_tokens"]) == (whole.removesuffix("\n"), 8)


def test_models_and_status_show_what_is_served(
    capsys: Captured, shim_url: str, triton: TritonServer
) -> None:
    models = json.loads(output(capsys, "models", "--url", shim_url, "--json"))
    assert {"name": "mistral-7b", "context_length": 4096, "is_ready": True} in models
    assert "mistral-7b" in output(capsys, "models", "--url", shim_url)
    metrics = ("--triton-metrics", triton.metrics_url)
    state = json.loads(output(capsys, "status", "--url", shim_url, *metrics, "--json"))
    assert state["models"] == models
    assert set(state["requests"]) == {"running", "waiting"}
    assert state["tritons"] == {triton.grpc_address: True}
    assert state["engines"]["tensorrt_llm"].pop("kv_cache_used") < 0.01
    assert state["engines"]["tensorrt_llm"] == {"requests": 0, "waiting": 0, "ranks": 1}
    shown = output(capsys, "status", "--url", f"grpc://{triton.grpc_address}", *metrics)
    assert "KV cache" in shown


def test_a_chat_of_lines_keeps_its_turns(
    capsys: Captured, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, read = tmp_path / "chat.json", tmp_path / "chat.md"
    lines = [
        QUESTION,
        "/set max_tokens 6",
        "/retry",
        "/system Be brief.",
        "And a mistral?",
        "/info",
        f"/save {saved}",
        f"/save {read}",
        "/clear",
        f"/load {saved}",
        "What is a token?",
        "/sav x",
    ]
    with typed(lines, monkeypatch):
        assert main(["chat", "--url", url, *GREEDY]) == 2
    captured = capsys.readouterr()
    assert "of 4,096 tokens used" in captured.out
    assert "error: /sav: no such command; did you mean /save?" in captured.err
    content = json.loads(saved.read_text())
    assert content["system"] == "Be brief."
    assert content["parameters"]["max_tokens"] == 6
    assert [each["content"] for each in content["turns"][::2]] == [QUESTION, "And a mistral?"]
    assert content["turns"][1]["content"] in captured.out
    assert f"## user\n\n{QUESTION}" in read.read_text()


@contextmanager
def typed(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make these lines the standard input."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        pipe.write("\n".join(lines) + "\n")
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield


def test_ctrl_c_cancels_the_reply_and_not_the_chat(
    shim_url: str, triton: TritonServer, tmp_path: Path
) -> None:
    """In a terminal of its own; replies are drawn, and the history is kept."""
    limits = ("-p", f"max_tokens={TOKENS}", "-p", f"min_new_tokens={TOKENS}")
    with Terminal("chat", "--url", shim_url, *limits, state=tmp_path) as chat:
        chat.wait_for("> ")
        with stopped_before(triton, TOKENS):
            chat.type(f"{QUESTION}\r")
            chat.wait_for("gentle")
            chat.interrupt()
            chat.wait_for("cancelled")
        chat.wait_for("> ")
        chat.interrupt()
        chat.wait_for("Ctrl-D ends the chat")
        chat.type("/inf\t\r")
        chat.wait_for("tokens used")
        chat.wait_for("> ")
        chat.type("\x04")
        assert chat.end() == 0
    assert QUESTION in (tmp_path / "aeolus" / "chat_history").read_text()


def test_a_status_is_watched_until_ctrl_c_and_has_no_colours_if_none_are_wanted(
    shim_url: str, triton: TritonServer, tmp_path: Path
) -> None:
    options = ("--url", shim_url, "--triton-metrics", triton.metrics_url, "--every", "0.2")
    with Terminal("status", "--watch", *options, state=tmp_path, NO_COLOR="1") as status:
        for _ in range(2):
            status.wait_for("1 rank, 0 requests, 0 of them waiting, KV cache 0% used")
            status.wait_for("%")
        status.interrupt()
        assert status.end() == 0
    assert not re.search(rb"\x1b\[[0-9;]*[349][0-9]", status.all), "it has colours"
    away = f"http://127.0.0.1:{free_ports().http}"
    with Terminal("status", "--watch", "--url", away, state=tmp_path) as status:
        status.wait_for("cannot be reached")
        status.wait_for("cannot be reached")
        assert b"\x1b[31m" in status.all


def test_a_chat_for_programs_is_a_line_of_json_for_each_reply(
    capsys: Captured, shim_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with typed([QUESTION, "/info", "/set max_tokens 3", "/retry"], monkeypatch):
        assert main(["chat", "--url", shim_url, "--json", *GREEDY]) == 0
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.out.splitlines())
    assert (first["finish_reason"], second["completion_tokens"]) == ("stop", 3)
    assert "tokens used" in captured.err


def test_ctrl_c_ends_ask_and_stops_the_engine(shim_url: str, triton: TritonServer) -> None:
    arguments = ["ask", QUESTION, "--url", shim_url, "-p", "min_new_tokens=3500"]
    with stopped_before(triton, 3500):
        process = subprocess.Popen(
            [sys.executable, "-m", "aeolus_client", *arguments, "--max-tokens", "3500"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_for_active_requests(triton, 1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


@pytest.mark.parametrize(
    "more", [("-c", "3"), ("-r", "20"), ("-r", "20", "--arrivals", "constant")]
)
def test_bench_measures_what_it_was_asked_to(
    capsys: Captured, url: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    plot = tmp_path / "plot.svg"
    shown = output(
        capsys,
        *("bench", "--url", url, "-n", "6", *more, "--prompt-tokens", "60:80"),
        *("--output-tokens", "5", "--warm-up", "1", "--plot", str(plot), "--json"),
        *("--slo-end-to-end", "600000", *GREEDY),
    )
    report = json.loads(shown)
    assert (report["requests"], report["failed"], report["complete"]) == (6, 0, True)
    assert report["completion_tokens"] == 30
    assert 0.8 * 60 <= report["prompt_tokens"] / 6 <= 1.2 * 80
    assert (
        report["goodput"] == report["requests_per_second"] == pytest.approx(6 / report["seconds"])
    )
    assert 0 < report["first_token"]["p50"] < report["end_to_end"]["p50"] < 600_000
    assert report["first_token"]["p99"] <= report["first_token"]["max"]
    assert len(ET.fromstring(plot.read_text()).findall(".//{*}circle")) == 12


def test_bench_reads_prompts_from_a_file_and_reports_failures(
    capsys: Captured, shim_url: str, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts"
    messages = json.dumps({"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 3})
    prompts.write_text(f"{QUESTION}\n{messages}\n" + json.dumps({"prompt": "a", "top_p": 7}))
    options = ("--prompts", str(prompts), "-n", "3", "--no-stream", "--warm-up", "0")
    report = json.loads(
        output(capsys, "bench", "--url", shim_url, *options, "-p", "max_tokens=5", "--json")
    )
    assert (report["requests"], report["failed"]) == (2, 1)
    assert report["errors"] == {"InvalidRequestError": 1}
    assert report["completion_tokens"] == 8
    assert report["first_token"] is None
    assert report["end_to_end"]["p50"] > 0
    main(["bench", "--url", shim_url, *options, "-p", "max_tokens=5"])
    captured = capsys.readouterr()
    assert re.search(r"requests +2 in .* s, 1 failed", captured.out)
    assert "1 x InvalidRequestError" in captured.err
