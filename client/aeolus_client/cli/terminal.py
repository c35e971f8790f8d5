"""What commands print, and how they end."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer
from rich.console import Console

from aeolus_client.client import AsyncClient
from aeolus_client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)

T = TypeVar("T")

FAILED = 1
WRONG = 2
"""The request is wrong; sending it again will fail again. Also typer's code for wrong usage."""
AWAY = 3
"""The server is busy, away or too slow; it may do later."""
INTERRUPTED = 128 + signal.SIGINT

# C0 but for tabs and line feeds, DEL, and C1, whose U+009B begins a sequence as ESC does.
SHOWN_CONTROLS = {
    **{code: f"^{chr(code ^ 64)}" for code in (*range(32), 127) if chr(code) not in "\t\n"},
    **{code: f"M-^{chr(code - 64)}" for code in range(128, 160)},
}

console = Console(highlight=False, soft_wrap=True)
"""Standard output; rich leaves colours out for NO_COLOR and where it is not a terminal."""
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def client(url: str, **settings: Any) -> AsyncClient:
    """Return a client; one or several addresses, separated by commas.

    Raises:
        typer.BadParameter: an address of a form that no client takes.
    """
    try:
        return AsyncClient([each.strip() for each in url.split(",")], **settings)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; a failure ends the command with its text on stderr and its code."""
    try:
        return asyncio.run(work)
    except ServiceError as error:
        report(str(error))
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error


def fail(text: str, code: int = WRONG) -> typer.Exit:
    """Print what is wrong; returns what to raise."""
    report(text)
    return typer.Exit(code)


def report(text: str) -> None:
    """Print an error."""
    errors.print(f"error: {visible(text)}", style="red", markup=False)


def note(text: str) -> None:
    """Print what belongs to no result, on stderr."""
    errors.print(visible(text), style="dim", markup=False)


def write(text: str) -> None:
    """Print a piece of a reply at once: as it is, but where a terminal would act on it."""
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def visible(text: str) -> str:
    """Return a text whose control characters are shown instead of acted on, as `cat -v` does.

    A model may write what clears a terminal, sets its title or fills its clipboard.
    """
    return text.translate(SHOWN_CONTROLS)


def print_json(value: Any) -> None:
    """Print a result for programs."""
    write(_json(value, indent=2))


def print_line(value: Any) -> None:
    """Print one of many results for programs, on a line of its own."""
    write(_json(value))


def _json(value: Any, indent: int | None = None) -> str:
    """Return JSON in which every control character is escaped, those that JSON allows too."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text.translate({code: f"\\u{code:04x}" for code in range(127, 160)}) + "\n"


def exit_code(error: ServiceError) -> int:
    """Return what a program that runs the command can tell errors apart by."""
    match error:
        case InvalidRequestError() | ModelNotFoundError():
            return WRONG
        case (
            ConnectionFailedError()
            | DeadlineExceededError()
            | ServerBusyError()
            | ServerUnavailableError()
        ):
            return AWAY
        case _:
            return FAILED
