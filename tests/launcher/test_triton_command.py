"""How a tritonserver is started: alone, or one for each rank of a tensor parallel engine."""

from pathlib import Path

import pytest

from launcher.command import MPIRUN, triton_command, triton_environment
from launcher.deployment import Deployment
from launcher.installation import TritonInstallation
from launcher.ports import TritonPorts
from support.deployments import deployment

INSTALLATION = TritonInstallation(
    executable=Path("/opt/tritonserver/bin/tritonserver"),
    backend_directory=Path("/opt/tritonserver/backends"),
    environment={},
)


def command(served: Deployment | None = None) -> list[str]:
    return triton_command(
        INSTALLATION, Path("/models"), TritonPorts(8001, 8010, 8002), "aeolus_x_", 10, served
    )


def test_one_rank_is_a_plain_server() -> None:
    arguments = command()
    assert len(arguments) == len(command(deployment(1)))
    assert arguments[0] == "/opt/tritonserver/bin/tritonserver"
    assert "--grpc-port=8001" in arguments
    assert "--model-control-mode=explicit" not in arguments


def test_two_ranks_are_two_servers_of_which_one_serves() -> None:
    arguments = command(deployment(2))
    assert arguments[:6] == [*MPIRUN, "-n", "1"]
    split = arguments.index(":")
    leader, follower = arguments[6:split], arguments[split + 1 :]
    assert follower[:2] == ["-n", "1"]
    assert "--model-control-mode=explicit" not in leader
    assert [each for each in follower if "port" in each or "address" in each] == []
    assert "--allow-grpc=false" in follower
    assert follower[-2:] == ["--model-control-mode=explicit", "--load-model=tensorrt_llm"]


def test_ranks_are_not_bound_to_one_core_each() -> None:
    binding = MPIRUN.index("--bind-to")
    assert MPIRUN[binding + 1] == "none"


def test_each_rank_has_shared_memory_of_its_own_under_one_prefix() -> None:
    prefixes = [each for each in command(deployment(2)) if "shm-region-prefix-name" in each]
    assert prefixes == [
        "--backend-config=python,shm-region-prefix-name=aeolus_x_0_",
        "--backend-config=python,shm-region-prefix-name=aeolus_x_1_",
    ]


def test_several_engines_of_several_ranks_are_one_server_that_spawns_them() -> None:
    served = deployment(2, 1)
    arguments = command(served)
    assert arguments[:6] == [*MPIRUN, "-n", "1"]
    assert ":" not in arguments
    assert "--cuda-memory-pool-byte-size=1:0" in arguments
    assert triton_environment(served)["TRTLLM_ORCHESTRATOR"] == "1"
    assert triton_environment(deployment(2)) == triton_environment(None) == {}


@pytest.mark.parametrize("option", ["--http-restricted-api=", "--grpc-restricted-protocol="])
def test_calls_that_change_the_server_need_a_header_that_nobody_knows(option: str) -> None:
    keys = [each for _ in range(2) for each in command() if each.startswith(option)]
    assert len(set(keys)) == 2
    for each in keys:
        assert "shared-memory,model-repository,trace,logging:" in each
