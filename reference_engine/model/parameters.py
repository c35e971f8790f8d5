"""A model's parameters by the names that transformers gives them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from reference_engine.model.weights import Region, Weights

RegionOf = Callable[[str, tuple[int, ...]], Region | None]


def whole(_: str, shape: tuple[int, ...]) -> Region:
    """Return all of a parameter: a single rank has the whole model."""
    return tuple(slice(0, size) for size in shape)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Reads parameters where and in what type they are computed with.

    What it returns may be a view of the checkpoint's file.
    """

    weights: Weights
    dtype: torch.dtype
    device: torch.device
    region_of: RegionOf = whole
    """From a parameter's name and whole shape to the part that is read; none if nothing is."""

    def read(self, name: str, *shape: int) -> torch.Tensor:
        """Return a parameter, which is of this shape if it is not shared.

        Raises:
            CheckpointError: it is missing or of another shape.
        """
        parameter = self.read_if_own(name, *shape)
        assert parameter is not None, name
        return parameter

    def read_if_own(self, name: str, *shape: int) -> torch.Tensor | None:
        """Return a parameter, or none if another rank has it; see `read`."""
        region = self.region_of(name, shape)
        if region is None:
            return None
        return self.weights.read(name, shape, region).to(self.device, self.dtype)
