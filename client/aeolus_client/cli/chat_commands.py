"""What may be typed in a chat beside questions."""

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console

from aeolus_client.chat import AsyncChat
from aeolus_client.cli import terminal
from aeolus_client.errors import ServiceError
from aeolus_client.parameters import GenerateParameters
from aeolus_client.sync import Chat, Client

PARAMETERS = tuple(GenerateParameters.__annotations__)


class CommandError(Exception):
    """What was typed cannot be done; the text says why."""


class EndOfChat(Exception):  # noqa: N818 - an end, no error
    """The chat is over."""


class ChatCommands:
    """Commands on one conversation."""

    def __init__(self, client: Client, chat: Chat, console: Console):
        """Take the conversation, the client that sends it, and where to show things."""
        self._client = client
        self._console = console
        self._chat = chat
        self._commands: dict[str, tuple[str, Callable[[str], str | None]]] = {
            "/help": ("list these", self._help),
            "/set": ("NAME VALUE: a parameter of the replies; without, show them", self._set),
            "/unset": ("NAME: leave it to the model", self._unset),
            "/system": ("TEXT: the system message; without, none", self._system),
            "/model": ("NAME: talk with another model; without, list them", self._model),
            "/retry": ("ask the last question again", self._retry),
            "/clear": ("forget all turns", self._clear),
            "/save": ("FILE: write the chat, as JSON or, to a .md, to read", self._save),
            "/load": ("FILE: go on with what /save has written", self.load),
            "/info": ("tokens used, of the model's context", self._info),
            "/quit": ("end", self._quit),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What Tab completes."""
        return (*self._commands, *PARAMETERS)

    def run(self, line: str) -> str | None:
        """Do what a line says; returns a question to ask now, if that is what it means.

        Raises:
            CommandError: there is no such command, or it cannot be done.
            EndOfChat: it ends the chat.
        """
        name, _, rest = line.partition(" ")
        if name not in self._commands:
            near = get_close_matches(name, self._commands, n=1)
            hint = f"did you mean {near[0]}?" if near else "/help lists what there is"
            raise CommandError(f"{name}: no such command; {hint}")
        return self._commands[name][1](rest.strip())

    def load(self, rest: str) -> None:
        """Go on with a saved conversation."""
        try:
            text = Path(_needed(rest, "FILE")).read_text(encoding="utf-8")
            loaded = AsyncChat.from_json(self._conversation.client, text)
        except (OSError, ValueError, TypeError) as error:
            raise CommandError(f"{rest}: {error}") from error
        self._chat.conversation = loaded

    @property
    def _conversation(self) -> AsyncChat:
        return self._chat.conversation

    def _help(self, _: str) -> None:
        for name, (what, _run) in self._commands.items():
            self._console.print(f"{name:<8} {what}", markup=False)

    def _set(self, rest: str) -> None:
        parameters = self._conversation.parameters
        if not rest:
            self._console.print(json.dumps(parameters, ensure_ascii=False), markup=False)
            return
        name, _, text = rest.replace("=", " ", 1).partition(" ")
        if name not in PARAMETERS and (near := get_close_matches(name, PARAMETERS, n=1)):
            terminal.note(f"{name} may be unknown to the server; did you mean {near[0]}?")
        parameters[name] = _value(_needed(text.strip(), f"{name} VALUE"))

    def _unset(self, rest: str) -> None:
        if self._conversation.parameters.pop(_needed(rest, "NAME"), None) is None:
            raise CommandError(f"{rest} is not set")

    def _system(self, rest: str) -> None:
        self._conversation.system = rest or None

    def _model(self, rest: str) -> None:
        try:
            names = [each.name for each in self._client.models()]
        except ServiceError as error:
            raise CommandError(str(error)) from error
        if not rest:
            self._console.print(", ".join(names), markup=False)
            return
        if rest not in names:
            raise CommandError(f"{rest} is not served here; there are {', '.join(names)}")
        self._conversation.model = rest
        self._conversation.context_length = None

    def _retry(self, _: str) -> str:
        question = self._conversation.take_back()
        if question is None:
            raise CommandError("nothing was asked yet")
        return question

    def _clear(self, _: str) -> None:
        self._conversation.clear()

    def _save(self, rest: str) -> None:
        path = Path(_needed(rest, "FILE"))
        chat = self._conversation
        text = chat.to_markdown() if path.suffix == ".md" else chat.to_json() + "\n"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{rest}: {error.strerror}") from error
        terminal.note(f"{len(chat.turns)} turns in {path}")

    def _info(self, _: str) -> None:
        chat = self._conversation
        limit = "" if chat.context_length is None else f" of {chat.context_length:,}"
        self._console.print(f"{chat.tokens_used:,}{limit} tokens used", markup=False)
        if chat.first_sent:
            self._console.print(f"the oldest {chat.first_sent} turns are not sent any more")

    def _quit(self, _: str) -> None:
        raise EndOfChat


def _needed(rest: str, what: str) -> str:
    if not rest:
        raise CommandError(f"give {what}")
    return rest


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
