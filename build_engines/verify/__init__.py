"""Checks of what was converted or built."""
