"""OpenAPI descriptions of routes whose bodies our own parser reads."""

from typing import Any

from pydantic import BaseModel

from catalog import ModelEntry, load_catalog
from shim.families.openai.bodies import NOT_HERE, OpenAIBody, extras
from shim.parameters.parameters import INPUTS, CheckedParameters

EXAMPLE_QUESTION = "What is a zephyr?"


def predict_operation(*path_parameters: str) -> dict[str, Any]:
    """Return the OpenAPI fields of a predict route.

    Args:
        *path_parameters: names in the path that the route's function does not take.
    """
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in path_parameters
        ]
    } | json_body(
        CheckedParameters, {name: predict_example(model) for name, model in load_catalog().items()}
    )


def json_body(
    schema: type[BaseModel], examples: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI field of a JSON body.

    Args:
        schema: the body's fields.
        examples: bodies by the names they are listed under.
        required: whether the route does without a body.
    """
    return _json_body(_without_references(schema.model_json_schema()), examples, required)


def openai_body(form: type[OpenAIBody], examples: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI field of a body with a route's own fields, and every other parameter."""
    own = form.model_json_schema()
    further = extras(form.table).model_json_schema()["properties"]
    generate = CheckedParameters.model_json_schema()["properties"]
    for name in NOT_HERE.union(INPUTS):
        del generate[name]
    properties = generate | further | own["properties"]
    return _json_body(_without_references(own | {"properties": properties}), examples)


def _json_body(
    schema: dict[str, Any], examples: dict[str, Any], required: bool = True
) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": required,
            "content": {
                "application/json": {
                    "schema": schema,
                    "examples": {name: {"value": value} for name, value in examples.items()},
                }
            },
        }
    }


def predict_example(model: ModelEntry) -> dict[str, Any]:
    """Return a body of the model's predict route."""
    api = model.predict
    question = (
        EXAMPLE_QUESTION
        if api.input == "prompt"
        else [{"role": "user", "content": EXAMPLE_QUESTION}]
    )
    return {api.input: question, api.length_parameter: 128, "stream": api.stream}


def _without_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Spell out what a schema refers to: OpenAPI has no place for its definitions."""
    definitions = schema.pop("$defs", {})

    def spelled_out(node: Any) -> Any:
        if isinstance(node, list):
            return [spelled_out(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return spelled_out(definitions[node["$ref"].rpartition("/")[2]])
        return {name: spelled_out(value) for name, value in node.items()}

    spelled: dict[str, Any] = spelled_out(schema)
    return spelled
