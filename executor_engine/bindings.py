"""`tensorrt_llm.bindings.executor`, loaded where it is needed and nowhere else.

What we use of it stands in tests/stand_ins/executor_bindings.json, with its sources; what it does,
in docs/executor.md.
"""

from importlib import import_module
from typing import Any

NAME = "tensorrt_llm.bindings.executor"


class BindingsError(RuntimeError):
    """This Python has no TensorRT-LLM with an executor."""


def load_bindings() -> Any:
    """Return the module.

    Raises:
        BindingsError: TensorRT-LLM is missing, or is of a release without the executor.
    """
    try:
        bindings = import_module(NAME)
    except ImportError as error:
        raise BindingsError(
            f"{NAME} cannot be imported ({error}); runtime 'executor' needs NVIDIA's Triton "
            "container with TensorRT-LLM 1.2"
        ) from error
    if not hasattr(bindings, "Executor"):
        raise BindingsError(
            f"{NAME} has no Executor, which later releases than 1.2 have removed; serve with "
            "TensorRT-LLM 1.2"
        )
    return bindings
