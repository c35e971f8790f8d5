"""The request parameter that an engine reads: what Triton hands to every step of an ensemble.

Triton keeps the name `priority` for the queues of its own batchers.
"""

import json

from engine_step.interface import DEFAULT_PRIORITY, RequestRefusedError

PRIORITY = "request_priority"


def priority_of(parameters: str) -> float:
    """Return the priority of a request, 0 to 1, from the JSON object of its parameters.

    Raises:
        RequestRefusedError: it is not such a number.
    """
    value = json.loads(parameters).get(PRIORITY) if parameters else None
    if value is None:
        return DEFAULT_PRIORITY
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RequestRefusedError(f"{PRIORITY} is {value!r}; it must be a number from 0 to 1")
    return float(value)
