"""The `tensorrt_llm` step of the ensemble, with the engine that the parameter `runtime` names."""

from collections.abc import Mapping
from typing import ClassVar

from engine_step.triton_model import EngineModel


class TritonPythonModel(EngineModel):
    """Imports an engine when it is asked for: none needs what another one imports."""

    engines: ClassVar[Mapping[str, str]] = {
        "reference": "reference_engine.step",
        "executor": "executor_engine.step",
    }
