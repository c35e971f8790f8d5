"""OpenAPI descriptions of routes whose bodies our own parser reads."""

from typing import Any

from pydantic import BaseModel

from catalog import ModelEntry, load_catalog
from shim.parameters import CheckedParameters

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
        CheckedParameters, {name: _predict_example(model) for name, model in load_catalog().items()}
    )


def json_body(
    schema: type[BaseModel], examples: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI field of a JSON body; `schema` refers to no other model.

    Args:
        schema: the body's fields.
        examples: bodies by the names they are listed under.
        required: whether the route does without a body.
    """
    return {
        "requestBody": {
            "required": required,
            "content": {
                "application/json": {
                    "schema": schema.model_json_schema(),
                    "examples": {name: {"value": value} for name, value in examples.items()},
                }
            },
        }
    }


def _predict_example(model: ModelEntry) -> dict[str, Any]:
    api = model.predict
    question = (
        EXAMPLE_QUESTION
        if api.input == "prompt"
        else [{"role": "user", "content": EXAMPLE_QUESTION}]
    )
    return {api.input: question, api.length_parameter: 128, "stream": api.stream}
