"""Our conversion and NVIDIA's export are the same bits; another release is checked by its pin.

The one difference is that ModelOpt always splits the embedding by vocabulary, as our conversion
does when asked.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.trtllm_config import read_trtllm_config
from build_engines.quantize.packages import environment
from build_engines.quantize.run import differing_fields
from build_engines.verify.directory import verify
from reference_engine.model.checkpoint import read_model_config
from support import tiny_models

pytestmark = [pytest.mark.slow, pytest.mark.extended]

CASES = [
    ("llama-3-8b-instruct", False),
    ("llama-3-8b-instruct", True),
    ("llama-3.1", False),
    ("mistral-7b", False),
]
"""Shapes of tiny_models, and whether the output matrix is the embedding table."""
EXPORT_ALL = """
import json, sys
from pathlib import Path
from build_engines.quantize.export import export
for source, output, dtype, tp_size in json.load(sys.stdin):
    export(Path(source), Path(output), dtype=dtype, tp_size=tp_size)
"""


def name_of(shape: str, tied: bool) -> str:
    return f"{shape}-tied" if tied else shape


@pytest.fixture(scope="module")
def exports(modelopt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case for one rank and for two, by one process: it takes seconds to import."""
    directory = tmp_path_factory.mktemp("exports")
    jobs = []
    for shape, tied in CASES:
        source = directory / name_of(shape, tied)
        tiny_models.make_checkpoint(source, shape, torch.bfloat16, tie_word_embeddings=tied)
        jobs += [
            (str(source), f"{source}-tp{tp}", tiny_models.model_of(shape).engine.dtype, tp)
            for tp in (1, 2)
        ]
    subprocess.run(
        [sys.executable, "-c", EXPORT_ALL],
        input=json.dumps(jobs),
        text=True,
        check=True,
        env=environment(modelopt),
        cwd=directory,
    )
    return directory


@pytest.mark.parametrize("tp_size", [1, 2])
@pytest.mark.parametrize(("shape", "tied"), CASES)
def test_the_conversion_is_nvidias_export_bit_for_bit(
    exports: Path, tmp_path: Path, shape: str, tied: bool, tp_size: int
) -> None:
    source = exports / name_of(shape, tied)
    exported = exports / f"{source.name}-tp{tp_size}"
    model = tiny_models.model_of(shape)
    converted = tmp_path / "converted"
    convert(model, source, converted, tp_size=tp_size, use_parallel_embedding=True)
    ours, theirs = read_trtllm_config(converted), read_trtllm_config(exported)
    assert differing_fields(theirs, ours) == []
    for rank in range(tp_size):
        own = load_file(converted / f"rank{rank}.safetensors")
        other = load_file(exported / f"rank{rank}.safetensors")
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert tensor.dtype == other[name].dtype, name
            assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize(("shape", "tied"), CASES)
def test_the_reference_engine_reads_nvidias_export(
    exports: Path, tmp_path: Path, shape: str, tied: bool
) -> None:
    source = exports / name_of(shape, tied)
    convert(tiny_models.model_of(shape), source, tmp_path / "converted", tp_size=2)
    ours = read_model_config(tmp_path / "converted")
    assert read_model_config(Path(f"{source}-tp2")) == ours
    assert ours.num_ranks == 2


@pytest.mark.parametrize("tp_size", [1, 2])
@pytest.mark.parametrize(("shape", "tied"), CASES)
def test_nvidias_export_passes_verify_with_a_note(
    exports: Path, shape: str, tied: bool, tp_size: int
) -> None:
    report = verify(exports / f"{name_of(shape, tied)}-tp{tp_size}")
    assert report.ok, report.render()
    assert "note: no manifest.json" in report.render()
    assert "written by modelopt" in report.render()
