"""From a checkpoint to a model repository that a tritonserver can load."""
