"""The request parameter that an engine reads."""

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.request_parameters import DEFAULT_PRIORITY, read_request_parameters
from engine_step.interface import RequestRefusedError


def priority_of(parameters: str) -> float:
    """Return the priority of a request, 0 to 1, from the JSON object of its parameters.

    Raises:
        RequestRefusedError: it is not such a number.
    """
    try:
        priority = read_request_parameters(parameters).request_priority
    except InvalidRequestError as error:
        raise RequestRefusedError(str(error)) from error
    return DEFAULT_PRIORITY if priority is None else priority
