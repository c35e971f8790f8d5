"""Baseten's own Truss server, and the Truss `mistral` that it serves."""
