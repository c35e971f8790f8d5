"""TCP ports of the services on one host."""

import ipaddress
import socket
from dataclasses import dataclass


class PortTakenError(RuntimeError):
    """A service cannot listen where it was configured to."""


LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """The three ports of a tritonserver, and the address it listens on."""

    grpc: int
    http: int
    metrics: int
    host: str = LOOPBACK
    """IPv4 or IPv6 address; 0.0.0.0 and :: are all of this machine's."""

    @property
    def local_host(self) -> str:
        """Where this machine reaches it, as in a URL."""
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            return LOOPBACK if address.version == 4 else "[::1]"
        return self.host if address.version == 4 else f"[{self.host}]"


def free_ports() -> TritonPorts:
    """Return three ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(3)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        grpc, http, metrics = (each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()
    return TritonPorts(grpc=grpc, http=http, metrics=metrics)


def require_free(host: str, port: int, variable: str) -> None:
    """Fail early, and by name, where the server would fail late.

    Raises:
        PortTakenError: `port` cannot be bound; the text names `variable` as the way out.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror as error:
        raise PortTakenError(f"HOST={host} is not an address here: {error.strerror}") from error
    except OSError as error:
        raise PortTakenError(
            f"{variable}={port} cannot be used on {host}: {error.strerror}; "
            f"free the port or choose another with {variable}=N"
        ) from error
