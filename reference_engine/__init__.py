"""The engine stage for machines without TensorRT-LLM: tokens in, tokens out, many at once.

By itself, without Triton:

    from reference_engine import Engine

    with Engine("demo/checkpoint") as engine:
        print(engine.generate(["The wind", "A zephyr is"], max_new_tokens=32))
"""

import os

# Before torch is imported: OpenMP threads of torch spin at barriers by default, and when another
# busy process (tritonserver, a client) takes a core, one decode step slows from milliseconds to
# a second. Passive waiting costs up to a third on an idle machine and keeps steps even on a busy
# one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from reference_engine.text import Engine

__all__ = ["Engine"]
