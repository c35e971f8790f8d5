"""What a machine lacks for a deployment is named, each with its remedy, before a server starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.deployment import Deployment
from launcher.preflight import GIB, MIB, Gpu, Machine, inspect_machine, problems
from support.deployments import deployment

GPU = Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 79 * GIB)
GOOD = Machine(
    gpus=(GPU, GPU),
    tensorrt_llm="1.2.1",
    shared_memory_bytes=8 * GIB,
    open_files=1 << 20,
    mpirun="/usr/bin/mpirun",
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    for rank in range(2):
        (tmp_path / f"rank{rank}.engine").write_bytes(bytes(MIB))
    return tmp_path


def test_a_machine_that_has_everything_has_no_problem(engine: Path) -> None:
    assert problems(deployment(2, directory=engine), GOOD) == []


@pytest.mark.parametrize(
    ("lacking", "problem", "remedy"),
    [
        ({"gpus": (GPU,)}, "needs 2 GPUs, one per rank, and 1 are visible", "--gpus all"),
        ({"gpus": (GPU, replace(GPU, name="NVIDIA H100"))}, "GPUs of different kinds", "A100"),
        ({"gpus": (GPU, replace(GPU, free_bytes=1000))}, "GPU 1 (NVIDIA A100", "nvidia-smi"),
        ({"tensorrt_llm": None}, "this Python has none", "container"),
        ({"tensorrt_llm": "1.3.0"}, "built with TensorRT-LLM 1.2.1, and 1.3.0", "build it again"),
        ({"shared_memory_bytes": 64 * MIB}, "/dev/shm has 64 MiB free", "--shm-size=2g"),
        ({"open_files": 48}, "only 48 files may be open", "ulimit -n"),
        ({"mpirun": None}, "2 ranks, which mpirun starts", "openmpi-bin"),
    ],
)
def test_each_lack_is_one_line_with_its_remedy(
    engine: Path, lacking: dict[str, Any], problem: str, remedy: str
) -> None:
    (found,) = problems(deployment(2, directory=engine), replace(GOOD, **lacking))
    assert problem in found
    assert remedy in found
    assert "\n" not in found


def test_an_fp8_engine_needs_a_gpu_that_computes_in_it(engine: Path) -> None:
    fp8 = deployment(1, directory=engine, quantization={"quant_algo": "FP8"})
    (found,) = problems(fp8, GOOD)
    assert "is FP8, which GPU 0 (NVIDIA A100-SXM4-80GB) does not compute in" in found
    h100 = replace(GPU, name="NVIDIA H100", capability=(9, 0))
    assert problems(fp8, replace(GOOD, gpus=(h100,))) == []


def test_a_missing_rank_file_is_named(engine: Path) -> None:
    (engine / "rank1.engine").unlink()
    (found,) = problems(deployment(2, directory=engine), GOOD)
    assert found == f"{engine}/rank1.engine is missing; build the engine again"


def test_a_deployment_without_an_engine_needs_no_gpu() -> None:
    without = replace(GOOD, gpus=(), tensorrt_llm=None, mpirun=None)
    served: Deployment = deployment()
    assert problems(served, without) == []


def test_this_machine_can_be_inspected() -> None:
    machine = inspect_machine()
    assert machine.open_files > 0
    assert machine.shared_memory_bytes > 0
