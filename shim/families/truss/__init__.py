"""Truss's predict routes."""
