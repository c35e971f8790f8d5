"""lm-evaluation-harness scores the served model as it scores the checkpoint itself.

It has an environment of its own (`make lm-eval`), with a hundred packages that nothing here needs.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from demo.export import CHECKPOINT

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[4]
PYTHON = Path(os.environ.get("LM_EVAL_PYTHON", ROOT / ".venv-lm-eval" / "bin" / "python"))
TASKS = Path(__file__).with_name("lm_eval_tasks")
MODEL = "mistral-7b"
"""All five names are answered by the demo checkpoint."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tasks with the absolute paths of their data, which the harness wants."""
    folder = tmp_path_factory.mktemp("tasks")
    for task in TASKS.glob("*.yaml"):
        text = task.read_text(encoding="utf-8").replace("WINDS_FOLDER", str(TASKS))
        (folder / task.name).write_text(text, encoding="utf-8")
    return folder


def evaluate(tasks: Path, output: Path, model: str, arguments: str) -> dict[str, list[Any]]:
    """Run the harness; returns what the model said of every sample, by task."""
    command = [str(PYTHON), "-m", "lm_eval", "run", "--model", model, "--model_args", arguments]
    command += ["--tasks", "winds,winds_text", "--include_path", str(tasks)]
    command += ["--output_path", str(output)]
    command += ["--log_samples", "--batch_size", "4", "--device", "cpu"]
    environment = os.environ | OFFLINE | {"HF_HOME": str(tasks.parent / "hf")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    found = {}
    for task in ("winds", "winds_text"):
        (samples,) = output.rglob(f"samples_{task}_2*.jsonl")
        lines = samples.read_text(encoding="utf-8").splitlines()
        ordered = sorted(map(json.loads, lines), key=lambda each: each["doc_id"])
        found[task] = [each["filtered_resps"] for each in ordered]
    return found


@pytest.mark.skipif(not PYTHON.exists(), reason="make lm-eval installs lm-evaluation-harness")
def test_it_scores_the_service_as_it_scores_the_checkpoint(
    shim_url: str, tasks: Path, tmp_path: Path
) -> None:
    served = evaluate(
        tasks,
        tmp_path / "served",
        "local-completions",
        f"model={MODEL},base_url={shim_url}/v1/completions,tokenizer={CHECKPOINT},"
        "tokenizer_backend=huggingface,max_retries=1,max_length=2048",
    )
    direct = evaluate(
        tasks, tmp_path / "direct", "hf", f"pretrained={CHECKPOINT},dtype=float32,max_length=2048"
    )
    assert [len(each) for each in direct["winds"]] == [3] * 10
    for ours, theirs in zip(served["winds"], direct["winds"], strict=True):
        for (value, is_greedy), (expected, expected_greedy) in zip(ours, theirs, strict=True):
            assert float(value) == pytest.approx(float(expected), abs=1e-3)
            assert is_greedy == expected_greedy
    for ours, theirs in zip(served["winds_text"], direct["winds_text"], strict=True):
        assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=1e-5)
