"""Find, start, watch and stop a tritonserver."""
