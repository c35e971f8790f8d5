"""One request through a preprocessor."""

from typing import Any

from preprocessing.preprocessor import Preprocessor
from preprocessing.request import EngineInputs, PromptRequest


def prepare(preprocessor: Preprocessor, **request: Any) -> EngineInputs:
    """Return what the engine is given for a request; raises what it is refused with."""
    (inputs,) = preprocessor.prepare([PromptRequest(**{"max_tokens": 1, **request})])
    if isinstance(inputs, Exception):
        raise inputs
    return inputs
