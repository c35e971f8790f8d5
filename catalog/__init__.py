"""What is known of each served model: one TOML file a model, read through `catalog.load`."""

from catalog.load import CatalogError, field_problems, load_catalog, load_model
from catalog.schema import (
    TENSORRT_LLM_VERSION,
    EnginePlan,
    GenerationDefaults,
    ModelEntry,
    PredictApi,
    Shape,
    ZephyrApp,
)

__all__ = [
    "TENSORRT_LLM_VERSION",
    "CatalogError",
    "EnginePlan",
    "GenerationDefaults",
    "ModelEntry",
    "PredictApi",
    "Shape",
    "ZephyrApp",
    "field_problems",
    "load_catalog",
    "load_model",
]
