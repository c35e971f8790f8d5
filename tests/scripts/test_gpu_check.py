"""The check for a GPU, as a CPU can run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench import gpu_check

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_report_tells_equality_and_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "report.json"
    options = ["--shape", "small", "--sequences", "1", "3", "--tokens", "6"]
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--output", str(output), *options])
    gpu_check.main()
    report = json.loads(output.read_text())
    assert report["greedy_equals_transformers"] == {
        "llama": True,
        "mistral": True,
        "stablelm": True,
    }
    rows = report["measured"]["by_sequences"]
    assert rows.keys() == {"1", "3"}
    for row in rows.values():
        assert row.keys() >= {
            "engine_tokens_per_second",
            "decode_step_ms",
            "generate_tokens_per_second",
            "bandwidth_fraction",
        }
        assert all(value > 0 for value in row.values())


@pytest.mark.slow
def test_a_machine_with_torch_and_transformers_needs_nothing_else_of_ours() -> None:
    blocked = ["pydantic", "fastapi", "tritonclient", "grpc", "prometheus_client", "uvicorn"]
    script = f"import sys; sys.modules.update(dict.fromkeys({blocked})); "
    script += "import scripts.bench.gpu_check"
    path = ":".join(str(ROOT / each) for each in (".", "client", "contract"))
    environment = {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=ROOT)
