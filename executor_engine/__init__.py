"""The engine stage in the container: TensorRT-LLM's executor, through its Python bindings."""
