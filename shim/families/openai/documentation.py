"""OpenAI's routes for OpenAPI."""

from typing import Any

from shim.families.documentation import schema_body
from shim.families.openai.bodies import NOT_HERE, OpenAIBody, extras
from shim.parameters.parameters import INPUTS, CheckedParameters


def openai_body(form: type[OpenAIBody], examples: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI field of a body with a route's own fields, and every other parameter."""
    own = form.model_json_schema()
    further = extras(form.table).model_json_schema()["properties"]
    schema = CheckedParameters.model_json_schema()
    generate, definitions = schema["properties"], schema["$defs"] | own.get("$defs", {})
    for name in NOT_HERE.union(INPUTS):
        del generate[name]
    properties = generate | further | own["properties"]
    return schema_body(own | {"properties": properties, "$defs": definitions}, examples)
