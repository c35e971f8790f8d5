"""The command `aeolus`: the client's own commands, and those of what is installed beside it."""

import sys
from importlib.util import find_spec

from aeolus_client.cli.extensions import extensions

NEEDED = ("typer", "rich")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Exit codes: 0 done, 1 failed with the reason on stderr, 2 wrong usage, 130 interrupted.

    Args:
        arguments: of the command line; those of this process if `None`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    added = extensions()
    if arguments and arguments[0] in added:
        return added[arguments[0]].run(arguments[1:])
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"error: the client's commands need {' and '.join(missing)}:"
            " pip install 'aeolus-client[cli]'",
            file=sys.stderr,
        )
        return 1
    from aeolus_client.cli.app import run

    return run(arguments, added)
