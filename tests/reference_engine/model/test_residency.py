"""Weights are in memory once: what was computed with is a copy, and the file is let go."""

from pathlib import Path

import pytest

from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.checkpoint import torch_dtype
from support.tiny_models import make_checkpoint


@pytest.mark.parametrize("shape", ["stablelm-zephyr-3b", "mistral-7b", "llama-3-8b-instruct"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_loaded_engine_maps_no_file_of_its_checkpoint(
    tmp_path: Path, shape: str, dtype: str
) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", shape, torch_dtype(dtype))
    config = EngineConfig.resolve(checkpoint, max_batch_size=1, max_seq_len=64, dtype=dtype)
    engine = ReferenceEngine(config)
    try:
        assert str(checkpoint) not in Path("/proc/self/maps").read_text()
    finally:
        engine.shutdown()
