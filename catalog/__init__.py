"""What is known of each served model: one TOML file a model, read through `catalog.load`."""

from catalog.load import CatalogError, load_catalog, load_model
from catalog.schema import GenerationDefaults, ModelEntry, PredictApi, ZephyrApp

__all__ = [
    "CatalogError",
    "GenerationDefaults",
    "ModelEntry",
    "PredictApi",
    "ZephyrApp",
    "load_catalog",
    "load_model",
]
