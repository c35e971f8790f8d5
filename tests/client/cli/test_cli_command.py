"""The command `aeolus`: its own commands, those of what is installed beside it, exit codes."""

import subprocess
import sys

import pytest

from aeolus_client.cli import main
from aeolus_client.cli.extensions import extensions

SERVER_COMMANDS = {
    *("serve", "shim"),
    *("plan", "fetch", "convert", "build", "assemble", "verify", "docs"),
}


def test_the_commands_of_the_server_are_found_and_described() -> None:
    found = extensions()
    assert set(found) >= SERVER_COMMANDS
    assert all(found[name].summary.endswith(".") for name in SERVER_COMMANDS)


def test_the_help_lists_the_commands_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    words = capsys.readouterr().out.split()
    assert {"ask", *SERVER_COMMANDS} <= set(words)


def test_a_command_of_the_server_runs_with_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "mistral-7b"]) == 0
    assert capsys.readouterr().out.startswith("mistral-7b on 1 x A10G float16\n")
    assert main(["plan", "llama-2-70b", "--gpu", "A100-40"]) == 1
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "shim", "plan"])
def test_the_help_of_a_command_calls_it_by_its_name(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: aeolus {command} ")


def test_the_shell_completes_the_commands_of_both(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AEOLUS_COMPLETE", "complete_bash")
    for begun, completed in (("ch", ["chat"]), ("pl", ["plan"]), ("pred", ["predict"])):
        monkeypatch.setenv("COMP_WORDS", f"aeolus {begun}")
        monkeypatch.setenv("COMP_CWORD", "1")
        main([])
        assert sorted(capsys.readouterr().out.split()) == completed


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blow"]) == 2
    assert "No such command 'blow'" in capsys.readouterr().err


def test_without_typer_the_server_is_run_and_the_client_says_what_it_needs() -> None:
    """In a process of its own where typer and rich cannot be found."""
    program = (
        f"import sys, importlib.machinery as m; sys.path[:] = {sys.path!r}\n"
        "find = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = classmethod("
        "lambda cls, name, *more: None if name in ('typer', 'rich') else find(name, *more))\n"
        "from aeolus_client.cli import main\n"
        "assert main(['plan', 'mistral-7b']) == 0\n"
        "sys.exit(main(['ask', 'hello']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "mistral-7b on 1 x A10G" in done.stdout
    assert done.stderr == (
        "error: the client's commands need typer and rich: pip install 'aeolus-client[cli]'\n"
    )
