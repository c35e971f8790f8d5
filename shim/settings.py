"""What one deployment of the shim serves, and from where."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from catalog import load_catalog


class Settings(BaseModel):
    """Settings of the shim."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    triton_address: Annotated[str, Field(pattern=r"^[^\s/]+:\d+$")]
    """`host:port` of Triton's gRPC service."""
    models: Annotated[dict[str, str], Field(min_length=1)]
    """Catalog name of each served model -> name of the Triton ensemble that runs it."""
    default_model: str
    """Answers where neither path nor host names a model."""
    max_body_bytes: PositiveInt = 1 << 20

    @model_validator(mode="after")
    def _models_are_known(self) -> Self:
        unknown = sorted(set(self.models) - set(load_catalog()))
        if unknown:
            raise ValueError(
                f"models: {', '.join(unknown)} not in the catalog, which has "
                f"{', '.join(load_catalog())}"
            )
        if self.default_model not in self.models:
            raise ValueError(
                f"default_model: {self.default_model} is not among the served models "
                f"{', '.join(self.models)}"
            )
        return self
