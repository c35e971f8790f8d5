"""The ways to serve one model that `bench_engine.py` compares.

Each is loaded by name, in a process of its own, with a Python that may have nothing else installed:
hence the imports inside the functions.
"""

from collections.abc import Callable

Prompts = list[list[int]]
Serve = Callable[[Prompts, int], None]
"""Continues every prompt by exactly that many tokens; returns when all are done."""
