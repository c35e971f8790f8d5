"""HTTP: bodies, connections, protocol limits."""
