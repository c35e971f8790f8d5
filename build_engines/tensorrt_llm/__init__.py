"""NVIDIA's tools, and the model repository around what they build."""
