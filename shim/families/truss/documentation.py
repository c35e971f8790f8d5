"""The predict routes for OpenAPI."""

from functools import cache
from typing import Any

from catalog import ModelEntry, load_catalog
from shim.families.documentation import json_body
from shim.parameters.parameters import CheckedParameters

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
    } | _body()


@cache
def _body() -> dict[str, Any]:
    examples = {name: predict_example(model) for name, model in load_catalog().items()}
    return json_body(CheckedParameters, examples)


def predict_example(model: ModelEntry) -> dict[str, Any]:
    """Return a body of the model's predict route."""
    api = model.predict
    question = (
        EXAMPLE_QUESTION
        if api.input == "prompt"
        else [{"role": "user", "content": EXAMPLE_QUESTION}]
    )
    return {api.input: question, api.length_parameter: 128, "stream": api.stream}
