"""A stand-in for TensorRT-LLM: what Aeolus imports of it, exactly as executor_bindings.json has it.

On PYTHONPATH (`tests/stand_ins`) it takes the place of the real package. Its executor runs the
reference engine's model, or makes tokens at a pace, and behaves as awkwardly as the real one
(docs/executor.md). Like the real package, it is not imported by accident: it needs an engine.
"""

__version__ = "1.2.1"
