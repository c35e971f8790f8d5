"""The typer application."""

import sys
from collections.abc import Callable
from io import TextIOWrapper

import typer

from aeolus_client.cli import ask, bench, chat, predict, status, terminal
from aeolus_client.cli.extensions import Extension

PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
COMMANDS: dict[str, Callable[..., None]] = {
    "ask": ask.ask,
    "chat": chat.chat,
    "predict": predict.predict,
    "models": status.models,
    "status": status.status,
    "bench": bench.bench,
}


def run(arguments: list[str], extensions: dict[str, Extension]) -> int:
    """Run one of the client's commands, or show the help of all; returns the exit code."""
    app = typer.Typer(
        name="aeolus",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Language models on Triton: use a server, or run one.",
    )
    for name, command in COMMANDS.items():
        app.command(name)(command)
    if arguments[:1] not in [[name] for name in COMMANDS]:
        for name, extension in extensions.items():
            _add(app, name, extension)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # a reply may have what the terminal's code has not
    try:
        app(arguments, prog_name="aeolus")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except OSError as error:
        terminal.report(f"the output cannot be written: {error}")
        return terminal.FAILED
    return 0


def _add(app: typer.Typer, name: str, extension: Extension) -> None:
    @app.command(name, help=extension.summary, context_settings=PASS_ON)
    def run_extension(context: typer.Context) -> None:
        raise typer.Exit(extension.run(context.args))
