"""A stand-in for TensorRT-LLM: what Aeolus imports of it, exactly as executor_bindings.json has it.

Where a Python finds it, it takes the place of the real package. Its executor runs the
reference engine's model, or makes tokens at a pace, and behaves as awkwardly as the real one
(docs/executor.md).
"""

__version__ = "1.2.1"
