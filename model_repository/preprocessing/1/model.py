"""The tokenizer step of the ensemble."""

import sys

# transformers imports torch wherever it is installed. Its tokenizers need none, and this process
# is spared 270 MB and two seconds of its start.
sys.modules["torch"] = None  # type: ignore[assignment]

from preprocessing.triton_model import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
