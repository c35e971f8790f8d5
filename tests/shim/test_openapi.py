"""Whatever the API description allows, and what it does not, gets an answer that it documents."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

pytestmark = pytest.mark.server

LENGTHS = ("max_tokens", "max_length", "min_new_tokens", "min_length", "n", "num_return_sequences")


@pytest.fixture(scope="session")
def described_api(shim_url: str) -> Any:
    return schemathesis.openapi.from_url(f"{shim_url}/openapi.json")


schema = schemathesis.pytest.from_fixture("described_api")


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_fails_or_gets_an_undocumented_status(case: Any) -> None:
    keep_short(case.body)
    case.call_and_validate(checks=[not_a_server_error, status_code_conformance], timeout=30)


def keep_short(body: object) -> None:
    """Leave out of a valid request what makes its reply long."""
    if isinstance(body, dict) and body.keys() & {"messages", "prompt", "user_message", "code"}:
        for name in LENGTHS:
            body.pop(name, None)
        body["max_new_tokens"] = 2
