"""Ports are free or the error says which variable to change."""

import socket

import pytest

from launcher.ports import PortTakenError, free_ports, require_free


def test_free_ports_are_three_different_ones_that_can_be_bound() -> None:
    ports = free_ports()
    assert len({ports.grpc, ports.http, ports.metrics}) == 3
    for port in (ports.grpc, ports.http, ports.metrics):
        require_free("127.0.0.1", port, "PORT")


def test_a_taken_port_is_named_with_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"TRITON_GRPC_PORT={port} cannot be used"):
            require_free("127.0.0.1", port, "TRITON_GRPC_PORT")
