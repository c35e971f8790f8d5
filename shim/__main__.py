"""Serve in front of Tritons that run elsewhere; the settings are in the environment."""

import argparse
import sys

from shim.app import create_app
from shim.observation import logs
from shim.server import ShimServer
from shim.settings import SettingsError, read_settings


def main(arguments: list[str] | None = None, program: str = "python -m shim") -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code.

    Args:
        arguments: of the command line; those of this process if `None`.
        program: how usage errors call it.
    """
    argparse.ArgumentParser(prog=program, description=__doc__).parse_args(arguments)
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    logs.install(settings.log_level)
    server = ShimServer(create_app(settings))
    server.run(sockets=[server.listen()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
