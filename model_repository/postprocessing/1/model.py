"""The detokenizer step of the ensemble."""

from postprocessing.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
