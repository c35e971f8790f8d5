"""The predict routes: the Truss server's, which also owns every path of nobody else."""

from shim.errors.family import Family
from shim.families.truss.errors import ERROR_SCHEMA, error_body, error_headers
from shim.families.truss.routes import router

TRUSS = Family(
    name="truss",
    router=router,
    owns=lambda _: True,
    error_body=error_body,
    error_schema=ERROR_SCHEMA,
    error_headers=error_headers,
)
