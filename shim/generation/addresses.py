"""The addresses that a configured `host:port` stands for, as DNS has them now."""

import asyncio
import ipaddress
import socket


async def resolve(address: str) -> list[str]:
    """Return one `host:port` per machine behind `address`.

    A name stands for all its IPv4 addresses, or for its IPv6 ones if it has no other: in a cluster
    of both families, each machine has one of each.

    Args:
        address: `host:port`; an IPv6 address in brackets.

    Raises:
        OSError: the name cannot be resolved.
    """
    host, _, port = address.rpartition(":")
    if _is_literal(host.strip("[]")):
        return [address]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    v4 = {f"{where[0]}:{port}" for family, *_, where in found if family == socket.AF_INET}
    v6 = {f"[{where[0]}]:{port}" for family, *_, where in found if family == socket.AF_INET6}
    return sorted(v4 or v6)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
