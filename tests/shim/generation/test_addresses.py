"""Each address that DNS has for a name is a Triton; they may change while the shim runs."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from aeolus_client import ServerUnavailableError
from shim.generation import replicas
from shim.generation.addresses import resolve
from shim.generation.replicas import Replicas

Records = Callable[[list[str]], None]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Sets the addresses that any name has; none: it cannot be resolved."""
    found: list[str] = []

    async def look_up(_loop: Any, _host: str, port: int, **_: Any) -> list[Any]:
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 0, 0, "", (each, port))
            for each in found
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)
    monkeypatch.setattr(replicas, "RESOLVE_SECONDS", 0.0)

    def set_records(addresses: list[str]) -> None:
        found[:] = addresses

    return set_records


@pytest.mark.parametrize("address", ["127.0.0.1:8001", "[::1]:8001"])
def test_an_address_stands_for_itself(address: str) -> None:
    assert asyncio.run(resolve(address)) == [address]


def test_a_name_stands_for_all_its_addresses_of_one_family(records: Records) -> None:
    records(["10.0.0.2", "fd00::2", "10.0.0.1", "fd00::1"])
    assert asyncio.run(resolve("triton.models:8001")) == ["10.0.0.1:8001", "10.0.0.2:8001"]
    records(["fd00::2", "fd00::1"])
    assert asyncio.run(resolve("triton.models:8001")) == ["[fd00::1]:8001", "[fd00::2]:8001"]


def known(served: Replicas) -> list[str]:
    return list(served._replicas)


def test_the_tritons_of_a_name_are_followed_without_a_restart(records: Records) -> None:
    registry = CollectorRegistry()

    async def follow() -> None:
        gauge = Gauge("healthy", "-", ["address"], registry=registry)
        served = Replicas(["triton.models:1"], ["ensemble"], gauge)
        with pytest.raises(ServerUnavailableError, match=r"triton.models:1 cannot be resolved"):
            await served.engine("ensemble")
        await served.check()
        assert known(served) == []
        assert not served.are_ready
        records(["127.0.0.1", "127.0.0.2"])
        await served.check()
        assert known(served) == ["127.0.0.1:1", "127.0.0.2:1"]
        records(["127.0.0.2", "127.0.0.3"])
        await served.check()
        assert known(served) == ["127.0.0.2:1", "127.0.0.3:1"]
        records([])  # DNS is down: what is known stays
        await served.check()
        assert known(served) == ["127.0.0.2:1", "127.0.0.3:1"]
        await served.close()

    asyncio.run(follow())
    shown = {sample.labels["address"] for metric in registry.collect() for sample in metric.samples}
    assert shown == {"127.0.0.2:1", "127.0.0.3:1"}
