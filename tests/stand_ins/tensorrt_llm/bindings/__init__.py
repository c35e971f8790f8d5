"""The compiled module in the real package; its submodules are bound when it is imported."""

from tensorrt_llm.bindings import executor

__all__ = ["executor"]
