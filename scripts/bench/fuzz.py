"""Send thousands of requests that the API description allows, and as many that it does not.

None of them may be answered with a 5xx or with a status that is not documented, nothing may be left
of them, and the memory of the processes may not grow.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import status_code_conformance

from scripts.bench.service import Service, running_service

LENGTHS = ("max_tokens", "max_length", "min_new_tokens", "min_length", "n", "num_return_sequences")
INPUTS = {"messages", "prompt", "user_message", "code"}
CHECKS = [not_a_server_error, status_code_conformance]
ROUNDS = 10


def fuzz(service: Service, requests: int) -> bool:
    """Print how the requests were answered and what they cost; returns whether all is well."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    # Where there is no body, nothing can be wrong with it.
    operations = [
        operation.as_strategy(generation_mode=mode)
        for operation in found
        for mode in GenerationMode
        if operation.body or mode is GenerationMode.POSITIVE
    ]
    statuses: Counter[int] = Counter()
    memory: list[dict[str, float]] = []
    while statuses.total() < requests:
        for cases in operations:
            statuses += try_out(cases, len(memory), -(-requests // (ROUNDS * len(operations))))
        memory.append(service.memory())
        print(f"{statuses.total()} requests; {_shown(memory[-1])}", flush=True)
    leaked = service.leaked()
    print(f"statuses: {dict(sorted(statuses.items()))}; leaked: {leaked or 'nothing'}")
    return not leaked and max(statuses) < 500


def try_out(cases: Any, number: int, count: int) -> Counter[int]:
    """Send `count` requests of one operation; returns how they were answered."""
    statuses: Counter[int] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def answer(case: Any) -> None:
        keep_short(case.body)
        reply = case.call(timeout=60)
        statuses[reply.status_code] += 1
        case.validate_response(reply, checks=CHECKS)

    answer()
    return statuses


def keep_short(body: object) -> None:
    """Leave out of a valid request what makes its reply long."""
    if isinstance(body, dict) and body.keys() & INPUTS:
        for name in LENGTHS:
            body.pop(name, None)
        body["max_new_tokens"] = 2


def _shown(memory: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in memory.items()) + " MiB"


def main() -> None:
    """Serve, send, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    arguments = parser.parse_args()
    with running_service(Path(".run/fuzz/shim.log")) as service:
        is_well = fuzz(service, arguments.requests)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
