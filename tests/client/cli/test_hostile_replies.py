"""What a model or a server writes does nothing to the terminal."""

import io
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from aeolus_client.cli import main
from aeolus_client.cli.markdown import MarkdownStream
from support.broken_server import BrokenServer
from support.terminal import Terminal

HOSTILE = (
    "\x1b]0;taken\x07\x1b[2J\x9b31m\r\x08[press](http://192.0.2.1/) ![](http://192.0.2.1/i.png)"
)
DRAWING = re.compile(rb"\x1b\[\??[0-9;]*[mAKhl]|\r")


def reply(content: object, status: str = "200 OK") -> bytes:
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("content", "status", "more"),
    [
        (HOSTILE, "200 OK", ()),
        (HOSTILE, "200 OK", ("--json",)),
        ({"error": HOSTILE}, "400 Bad Request", ()),
    ],
)
def test_control_characters_are_shown_in_a_terminal(
    content: object, status: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    with BrokenServer(reply(content, status)) as server:
        arguments = ("predict", "-d", "{}", "--url", server.url, *more)
        with Terminal(*arguments, state=tmp_path) as shown:
            shown.end()
    left = DRAWING.sub(b"", shown.all).decode()
    assert "taken" in left
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", left)


def test_a_pipe_gets_a_reply_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with BrokenServer(reply(HOSTILE)) as server:
        assert main(["predict", "-d", "{}", "--url", server.url]) == 0
    assert capsys.readouterr().out == HOSTILE + "\n"


def test_drawn_markdown_has_no_links_and_no_control_characters() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    with MarkdownStream(console) as drawn:
        for character in f"# {HOSTILE}\n\n```\n{HOSTILE}\n```\n\n{HOSTILE}":
            drawn.write(character)
    shown = output.getvalue()
    assert "http://192.0.2.1/" in shown
    left = DRAWING.sub(b"", shown.encode()).decode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", left)


def test_an_output_that_is_full_is_an_error_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        BrokenServer(reply("x")) as server,
        suppress(OSError),  # when the file is closed
        Path("/dev/full").open("w") as full,
    ):
        monkeypatch.setattr("sys.stdout", full)
        code = main(["predict", "-d", "{}", "--url", server.url])
        monkeypatch.undo()
    assert code == 1
    assert "cannot be written" in capsys.readouterr().err
