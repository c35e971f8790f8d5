"""`tensorrt_llm.bindings.executor`: every class and enumeration of the table, and no other name."""

from tensorrt_llm import __version__ as __version__
from tensorrt_llm.standing_in import table
from tensorrt_llm.standing_in.executor import Executor

globals().update(table.BOUND)
globals()["Executor"] = Executor
