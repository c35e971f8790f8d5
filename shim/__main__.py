"""`python -m shim`: serve in front of Tritons that run elsewhere; settings from the environment."""

import sys

from shim.app import create_app
from shim.observation import logs
from shim.server import ShimServer
from shim.settings import SettingsError, read_settings


def main() -> int:
    """Serve until told to stop; returns the exit code."""
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
