"""OpenAI's API, with its errors."""

from shim.errors.family import Family, object_schema
from shim.families.openai.errors import ERROR_SCHEMA, error_body, is_openai_path
from shim.families.openai.routes import router

OPENAI = Family(
    name="openai",
    router=router,
    owns=is_openai_path,
    error_body=error_body,
    error_schema=object_schema("error", ERROR_SCHEMA),
)
