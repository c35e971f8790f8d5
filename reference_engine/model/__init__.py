"""The model: weights, cache, forward pass."""
