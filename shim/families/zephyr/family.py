"""The zephyr-7b-beta app's routes, with FastAPI's errors."""

from typing import Any

from shim.errors.family import ErrorReport, Family, object_schema
from shim.families.zephyr.routes import router

PROBLEMS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}


def _error_body(report: ErrorReport) -> dict[str, Any]:
    return {"detail": report.text}


ZEPHYR = Family(
    name="zephyr",
    router=router,
    owns=lambda path: path.startswith(f"{router.prefix}/"),
    error_body=_error_body,
    error_schema=object_schema("detail", PROBLEMS),
)
