"""`aeolus chat`: a conversation in the terminal."""

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from aeolus_client.cli import options, terminal
from aeolus_client.cli.chat_commands import ChatCommands, CommandError, EndOfChat
from aeolus_client.cli.history import History
from aeolus_client.cli.markdown import MarkdownStream
from aeolus_client.client import DEFAULT_TIMEOUT
from aeolus_client.errors import ServiceError
from aeolus_client.generation import TextChunk
from aeolus_client.sync import Chat, Client

PROMPT = "> "
Style = Literal["drawn", "plain", "json"]


def chat(
    url: options.Url = options.DEFAULT,
    model: options.Model = None,
    api_key: options.ApiKey = None,
    system: options.System = None,
    given: options.Parameters = None,
    load: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Go on with what /save has written."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print replies as they are.")] = False,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each reply as a line of JSON, all else on stderr.")
    ] = False,
) -> None:
    """Talk with a model; /help lists what else may be typed. Ctrl-C cancels the reply only."""
    try:
        client = Client(
            [each.strip() for each in url.split(",")], model=model, api_key=api_key, timeout=timeout
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error
    with client:
        conversation = Chat(client, system=system, **options.read_parameters(given))
        commands = ChatCommands(
            client, conversation, terminal.errors if as_json else terminal.console
        )
        if load is not None:
            try:
                commands.load(str(load))
            except CommandError as error:
                raise terminal.fail(str(error)) from error
        style: Style = "json" if as_json else "plain" if plain else "drawn"
        code = Terminal(conversation, commands, style).run()
    raise typer.Exit(code)


class Terminal:
    """Reads what is typed, and prints replies, until the input ends."""

    def __init__(self, chat: Chat, commands: ChatCommands, style: Style):
        """Take the conversation, its commands, and how to print replies."""
        self._chat = chat
        self._commands = commands
        self._style = "plain" if style == "drawn" and not terminal.console.is_terminal else style
        self._code = 0

    def run(self) -> int:
        """Talk; returns the exit code: of the last failure, where the input is not a terminal."""
        with History(self._commands.names):
            while True:
                try:
                    self._turn(self._read())
                except EndOfChat:
                    return 0 if sys.stdin.isatty() else self._code
                except KeyboardInterrupt:
                    terminal.note("Ctrl-D ends the chat")

    def _read(self) -> str:
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            if not line:
                raise EndOfChat
            return line.strip()
        try:
            return input(PROMPT).strip()
        except EOFError:
            sys.stdout.write("\n")
            raise EndOfChat from None

    def _turn(self, line: str) -> None:
        try:
            question = self._commands.run(line) if line.startswith("/") else line
        except CommandError as error:
            terminal.report(str(error))
            self._code = terminal.WRONG
            return
        if question:
            self._reply(question)

    def _reply(self, question: str) -> None:
        try:
            with closing(self._chat.stream(question)) as chunks:
                self._print(chunks)
        except KeyboardInterrupt:
            terminal.write("\n")
            terminal.note("cancelled")
        except ServiceError as error:
            terminal.report(str(error))
            self._code = terminal.exit_code(error)

    def _print(self, chunks: Iterable[TextChunk]) -> None:
        if self._style == "drawn":
            with MarkdownStream(terminal.console) as drawn:
                for chunk in chunks:
                    drawn.write(chunk.text)
        elif self._style == "plain":
            for chunk in chunks:
                terminal.write(chunk.text)
            terminal.write("\n")
        else:
            *_, last = read = list(chunks)
            terminal.print_line(
                {
                    "text": "".join(chunk.text for chunk in read),
                    "finish_reason": last.finish_reason,
                    "prompt_tokens": last.prompt_tokens,
                    "completion_tokens": last.completion_tokens,
                }
            )
