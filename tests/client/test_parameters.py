"""The names that the client offers are those of the service's table."""

from aeolus_client.parameters import GenerateParameters
from aeolus_client.triton_backend import AS_THEY_ARE, SAMPLING
from shim.parameters.table import generate_map


def test_every_name_is_a_parameter_of_the_service() -> None:
    names = {name for name, row in generate_map().items() if row.category != "refused"}
    offered = set(GenerateParameters.__annotations__)
    assert offered <= names
    assert {*AS_THEY_ARE, *SAMPLING} <= offered
