"""The typer application."""

import typer

from aeolus_client import __main__ as asking
from aeolus_client.cli.extensions import Extension

PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
CLIENT_PANEL = "Use a server"
EXTENSION_PANEL = "Run a server"


def run(arguments: list[str], extensions: dict[str, Extension]) -> int:
    """Run one of the client's commands, or show the help of all."""
    app = typer.Typer(
        name="aeolus",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Language models on Triton: use a server, or run one.",
    )

    @app.command("ask", context_settings=PASS_ON, rich_help_panel=CLIENT_PANEL)
    def ask(context: typer.Context) -> None:
        """Send a prompt and print the reply as it comes."""
        raise typer.Exit(asking.main(context.args))

    for name, extension in extensions.items():
        _add(app, name, extension)
    try:
        app(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _add(app: typer.Typer, name: str, extension: Extension) -> None:
    @app.command(
        name, help=extension.summary, context_settings=PASS_ON, rich_help_panel=EXTENSION_PANEL
    )
    def run_extension(context: typer.Context) -> None:
        raise typer.Exit(extension.run(context.args))
