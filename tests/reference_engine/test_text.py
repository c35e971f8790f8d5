"""Text in, text out, without Triton."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine_step.interface import EngineStoppedError, RequestRefusedError, SamplingConfig
from reference_engine import Engine

DEMO = Path(__file__).parents[2] / "demo" / "checkpoint"
PROMPTS = ["The wind", "A zephyr is"]


def expected(prompt: str, length: int, **options: object) -> str:
    """What transformers itself makes of it."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    model = AutoModelForCausalLM.from_pretrained(DEMO)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    output = model.generate(ids, max_new_tokens=length, do_sample=False, **options)
    text: str = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text


def test_prompts_are_continued_as_transformers_does() -> None:
    with Engine(DEMO, dtype="float32", max_beam_width=2) as engine:
        assert engine.generate(PROMPTS, max_new_tokens=24) == [
            expected(each, 24) for each in PROMPTS
        ]
        with pytest.raises(RequestRefusedError, match="beam"):
            engine.generate(PROMPTS, sampling=SamplingConfig(beam_width=3))


def test_an_engine_that_was_closed_says_so() -> None:
    with Engine(DEMO) as engine:
        pass
    with pytest.raises(EngineStoppedError, match="shut down"):
        engine.generate(PROMPTS)
