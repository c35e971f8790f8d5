"""OpenAPI descriptions of routes whose bodies our own parser reads."""

from functools import cache
from typing import Any

from pydantic import BaseModel


@cache
def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a body, which is not to be changed.

    Made once: twenty routes have few forms, and a large one takes a start tens of milliseconds.
    """
    return form.model_json_schema()


def json_body(
    schema: type[BaseModel], examples: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI field of a JSON body.

    Args:
        schema: the body's fields.
        examples: bodies by the names they are listed under.
        required: whether the route does without a body.
    """
    return schema_body(schema_of(schema), examples, required=required)


def schema_body(
    schema: dict[str, Any], examples: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI field of a JSON body with this schema."""
    return {
        "requestBody": {
            "required": required,
            "content": {
                "application/json": {
                    "schema": _without_references(schema),
                    "examples": {name: {"value": value} for name, value in examples.items()},
                }
            },
        }
    }


def _without_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Spell out what a schema refers to: OpenAPI has no place for its definitions."""
    definitions = schema.get("$defs", {})

    def spelled_out(node: Any) -> Any:
        if isinstance(node, list):
            return [spelled_out(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return spelled_out(definitions[node["$ref"].rpartition("/")[2]])
        return {name: spelled_out(value) for name, value in node.items()}

    return {name: spelled_out(value) for name, value in schema.items() if name != "$defs"}
