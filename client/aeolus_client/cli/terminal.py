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

console = Console(highlight=False, soft_wrap=True)
"""Standard output; rich leaves colours out for NO_COLOR and where it is no terminal."""
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
    errors.print(f"error: {text}", style="red", markup=False)


def note(text: str) -> None:
    """Print what belongs to no result, on stderr."""
    errors.print(text, style="dim", markup=False)


def write(text: str) -> None:
    """Print a piece of a reply as it is, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print a result for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_line(value: Any) -> None:
    """Print one of many results for programs, on a line of its own."""
    write(json.dumps(value, ensure_ascii=False) + "\n")


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
