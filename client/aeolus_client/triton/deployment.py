"""What a Triton's own configuration says of an ensemble."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aeolus_client.errors import GenerationFailedError
from aeolus_client.triton.transport import Transport

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What replies are cut by, and where a stop must go."""

    engine_model: str
    engine: str
    """As preprocessing knows it."""
    max_seq_len: int
    """Most tokens of prompt and reply together."""


async def read_deployment(transport: Transport, model: str) -> Deployment:
    """Read the configurations of an ensemble and its steps.

    Raises:
        GenerationFailedError: it is none of ours.
        ServiceError: they cannot be read.
    """
    ensemble = await transport.config(model)
    scheduled = ensemble.get("ensemble_scheduling", {}).get("step", [])
    names = dict.fromkeys(each["model_name"] for each in scheduled)
    steps = {name: await transport.config(name) for name in names}
    engine_model = _parameter(ensemble, "engine_step") or _step_with_stop(steps)
    preprocessing = _step_with_limits(steps)
    return Deployment(
        engine_model=engine_model,
        engine=_parameter(preprocessing, "engine"),
        max_seq_len=int(_parameter(preprocessing, "max_seq_len") or sys.maxsize),
    )


def _parameter(config: Config, name: str) -> str:
    value: str = config.get("parameters", {}).get(name, {}).get("string_value", "")
    return value


def _step_with_stop(steps: Mapping[str, Config]) -> str:
    """Return the step that takes a stop: the engine, in an ensemble that does not name it.

    Raises:
        GenerationFailedError: no step does.
    """
    for name, config in steps.items():
        if any(tensor["name"] == "stop" for tensor in config.get("input", [])):
            return name
    raise GenerationFailedError(
        f"no step of the ensemble takes the input 'stop': {', '.join(steps) or 'it has none'}"
    )


def _step_with_limits(steps: Mapping[str, Config]) -> Config:
    """Return the configuration of the step that knows the engine's limits.

    Raises:
        GenerationFailedError: no step does.
    """
    for config in steps.values():
        if {"engine", "max_seq_len"} <= config.get("parameters", {}).keys():
            return config
    raise GenerationFailedError(
        "no step of the ensemble has the parameters engine and max_seq_len: "
        f"{', '.join(steps) or 'it has none'}"
    )
