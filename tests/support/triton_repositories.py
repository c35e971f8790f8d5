"""The smallest Triton model repositories."""

from pathlib import Path

CONFIG = """
name: "%s"
backend: "python"
max_batch_size: 1
input [{ name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }]
output [{ name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""
MODEL = """
class TritonPythonModel:
    def initialize(self, args):
        %s
    def execute(self, requests):
        return []
"""


def make_repository(directory: Path, initialize: str = "pass", name: str = "echo") -> Path:
    """Add a Python model with that `initialize` to a new or existing repository."""
    version = directory / name / "1"
    version.mkdir(parents=True)
    (directory / name / "config.pbtxt").write_text(CONFIG % name)
    (version / "model.py").write_text(MODEL % initialize)
    return directory
