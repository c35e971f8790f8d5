"""Errors as the Truss server sends them.

Source: basetenlabs/truss, truss/templates/server/_truss_common/errors.py at 4db5791.
"""

from http import HTTPStatus

from shim.errors.family import ErrorReport, object_schema

ERROR_SOURCE = "04"
"""The error is the model server's."""
INPUT_ERROR_CODE = "700"
"""The input could not be read or used (its InputParsingError)."""
INPUT_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
MODEL_ERROR_CODE = "600"
"""Whatever else is known to go wrong (HTTPException, ModelNotReady, UserCodeError)."""
UNEXPECTED_ERROR_CODE = "500"
"""An exception that nobody has foreseen."""
ERROR_SCHEMA = object_schema("error", {"type": "string"})


def error_body(report: ErrorReport) -> dict[str, str]:
    """Return the body of an error."""
    return {"error": report.text}


def error_headers(report: ErrorReport) -> dict[str, str]:
    """Return what the Truss server says of an error beside its text."""
    code = INPUT_ERROR_CODE if report.status in INPUT_ERRORS else MODEL_ERROR_CODE
    return {
        "x-baseten-error-source": ERROR_SOURCE,
        "x-baseten-error-code": UNEXPECTED_ERROR_CODE if report.is_unexpected else code,
    }
