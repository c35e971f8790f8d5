"""Whatever the API description allows, and what it does not, gets an answer that it documents."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import status_code_conformance

pytestmark = pytest.mark.server

LENGTHS = ("max_tokens", "max_length", "min_new_tokens", "min_length", "n", "num_return_sequences")
CHECKS = [not_a_server_error, status_code_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_fails_or_gets_an_undocumented_status(
    shim_url: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{shim_url}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.body or mode is GenerationMode.POSITIVE:  # nothing can be wrong with no body
            try_out(operation.as_strategy(generation_mode=mode))


def try_out(cases: Any) -> None:
    @settings(
        max_examples=8,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def answer(case: Any) -> None:
        keep_short(case.body)
        case.call_and_validate(checks=CHECKS, timeout=30)

    answer()


def keep_short(body: object) -> None:
    """Leave out of a valid request what makes its reply long."""
    if isinstance(body, dict) and body.keys() & {"messages", "prompt", "user_message", "code"}:
        for name in LENGTHS:
            body.pop(name, None)
        body["max_new_tokens"] = 2
