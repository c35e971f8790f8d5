"""OpenAI's routes for OpenAPI."""

from typing import Any

from shim.families.documentation import schema_body, schema_of
from shim.families.openai.bodies import NOT_HERE, OpenAIBody, extras
from shim.parameters.parameters import INPUTS, CheckedParameters


def openai_body(form: type[OpenAIBody], examples: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI field of a body with a route's own fields, and every other parameter."""
    own, schema = schema_of(form), schema_of(CheckedParameters)
    further = schema_of(extras(form.table))["properties"]
    definitions = schema["$defs"] | own.get("$defs", {})
    generate = {
        name: field
        for name, field in schema["properties"].items()
        if name not in NOT_HERE.union(INPUTS)
    }
    properties = generate | further | own["properties"]
    return schema_body(own | {"properties": properties, "$defs": definitions}, examples)
