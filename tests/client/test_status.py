"""Triton's failures become the error that tells the caller what to do."""

import grpc
import pytest

from aeolus_client.errors import (
    GenerationFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerBrokenError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)
from aeolus_client.triton.status import error_from_status, error_from_text
from aeolus_contract.failures import FailureKind, failure_text

QUEUE_FULL = "Maximum queue size of 256 has been reached, please try again later"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "top_p is 2", InvalidRequestError),
        (grpc.StatusCode.INTERNAL, QUEUE_FULL, ServerBusyError),
        (grpc.StatusCode.UNAVAILABLE, QUEUE_FULL, ServerBusyError),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", ServerUnavailableError),
        (grpc.StatusCode.CANCELLED, "", ServerUnavailableError),
        (
            grpc.StatusCode.NOT_FOUND,
            "Request for unknown model: 'x' is not found",
            ModelNotFoundError,
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "Request for unknown model: 'x' has no available versions",
            ServerUnavailableError,
        ),
        (grpc.StatusCode.INTERNAL, "out of memory", GenerationFailedError),
        (
            grpc.StatusCode.INTERNAL,
            "Stub process 'preprocessing_0_0' is not healthy.",
            ServerBrokenError,
        ),
    ],
)
def test_a_status_becomes_the_fitting_error(
    code: grpc.StatusCode, details: str, kind: type[ServiceError]
) -> None:
    assert type(error_from_status(code, details)) is kind


def test_the_name_of_the_ensemble_is_no_part_of_the_text() -> None:
    error = error_from_status(
        grpc.StatusCode.INVALID_ARGUMENT, "in ensemble 'ensemble', top_p is 2"
    )
    assert str(error) == "top_p is 2"


def test_a_text_without_status_is_read_for_what_it_says() -> None:
    unknown = error_from_text("Request for unknown model: 'x' is not found")
    assert type(unknown) is ModelNotFoundError
    assert type(error_from_text(QUEUE_FULL)) is ServerBusyError
    lost = error_from_text(failure_text(FailureKind.RESTARTING, "tensor parallel rank 1 failed"))
    assert type(lost) is ServerUnavailableError
    assert type(error_from_text("anything else")) is GenerationFailedError
