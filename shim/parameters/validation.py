"""Checking what a request says: the one room in which its parameters are refused."""

from itertools import chain, islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from catalog import ModelEntry
from shim.parameters.conflicts import conflicts, input_fields, input_problems
from shim.parameters.parameters import INPUTS, REFUSED, CheckedParameters
from shim.parameters.problems import (
    MAX_REPORTED,
    InvalidParametersError,
    Problem,
    describe,
    refusals,
    unknown_parameter,
)
from shim.parameters.resolved import ResolvedParameters
from shim.parameters.table import generate_map

LIMITS = {"max_new_tokens", "max_tokens"}


def read_parameters(body: dict[str, Any], model: ModelEntry) -> ResolvedParameters:
    """Check a request to a model, and resolve what it leaves open.

    Raises:
        InvalidParametersError: 422 with every problem of the request.
    """
    body = _with_generation_config(body)
    rest = {name: value for name, value in body.items() if name not in REFUSED}
    errors: list[ErrorDetails] = []
    try:
        parameters = CheckedParameters.model_validate(rest)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        wrong = {each["loc"][0] for each in errors}
        parameters = CheckedParameters.model_validate(
            {name: value for name, value in rest.items() if name not in wrong}
        )
    resolved = ResolvedParameters.of(parameters, model.predict)
    given = [name for name in INPUTS if body.get(name) is not None]
    problems = chain(
        (_describe(each, model) for each in errors),
        refusals(body, generate_map()),
        input_problems(given, model),
        conflicts(resolved, body),
    )
    reported = list(islice(problems, MAX_REPORTED))
    if reported:
        raise InvalidParametersError(reported)
    return resolved


def _with_generation_config(body: dict[str, Any]) -> dict[str, Any]:
    config = body.get("generation_config")
    if not isinstance(config, dict):
        return body
    foreign = sorted(config.keys() & {*INPUTS, "generation_config"})
    if foreign:
        raise InvalidParametersError(
            [
                Problem("generation_config", f"'{name}' is none of its parameters")
                for name in foreign
            ]
        )
    given = {name: value for name, value in body.items() if value is not None}
    decided = given.keys() | (LIMITS if LIMITS & given.keys() else set())
    return {name: value for name, value in config.items() if name not in decided} | given


def _describe(error: ErrorDetails, model: ModelEntry) -> Problem:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        known = generate_map().keys() - REFUSED | {*input_fields(model)}
        return unknown_parameter(str(error["loc"][0]), known)
    return describe(error)
