"""Checkpoints: Hugging Face's read, TensorRT-LLM's written."""
