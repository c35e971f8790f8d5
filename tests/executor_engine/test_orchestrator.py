"""Orchestrator mode: one process, the ranks of its engine spawned by MPI itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from executor_engine import __file__ as our_package
from launcher.command import MPIRUN
from launcher.processes import running_processes
from support.engine_harness import Oracle
from support.rehearsal import STAND_INS, write_executor_engine

PROMPT = [3, 1, 4, 1, 5]
ROOT = Path(our_package).parents[1]
PATHS = [ROOT, ROOT / "client", ROOT / "contract", ROOT / "tests", STAND_INS]
ENVIRONMENT = {
    "TRTLLM_ORCHESTRATOR": "1",
    # More processes than this machine may have cores.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun (Debian: openmpi-bin)"),
]


def test_the_ranks_are_spawned_serve_and_end(
    checkpoint: Path, oracle: Oracle, tmp_path: Path
) -> None:
    vocabulary = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    engine = write_executor_engine(
        tmp_path / "engine", {"checkpoint": str(checkpoint)}, vocab_size=vocabulary, world_size=2
    )
    worker = tmp_path / "trtllmExecutorWorker"
    worker.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {[*map(str, PATHS)]!r}\n"
        "from tensorrt_llm.standing_in.orchestrator import work\nwork()\n"
    )
    worker.chmod(0o755)
    script = Path(__file__).with_name("orchestrated.py")
    command = [*MPIRUN, "-n", "1", sys.executable, str(script), str(engine), str(worker)]
    path = os.pathsep.join(map(str, PATHS))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    expected = oracle.generate(PROMPT, 12, do_sample=False)[0]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found == {"whole": expected, "streamed": expected, "cancelled": ["cancelled"]}
    assert [each for each in running_processes() if str(worker) in each.command] == []
