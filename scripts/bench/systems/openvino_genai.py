"""OpenVINO GenAI, with the tools to export a model for it in a venv of their own."""

import subprocess
import sys
import venv
from pathlib import Path

from scripts.bench.systems import Prompts, Serve

VENV = Path(".run/openvino-venv")
PYTHON = VENV / "bin" / "python"
PACKAGES = ["optimum-intel==2.2.0", "openvino-genai==2026.4.1"]


def openvino(directory: Path, precision: str) -> Serve:
    """Return OpenVINO GenAI's continuous batching over the exported model."""
    import openvino
    from openvino_genai import ContinuousBatchingPipeline, GenerationConfig, SchedulerConfig

    scheduler = SchedulerConfig()
    scheduler.cache_size = 1
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    pipeline = ContinuousBatchingPipeline(
        str(directory), scheduler, "CPU", exact if precision == "float32" else {}
    )

    def serve(prompts: Prompts, tokens: int) -> None:
        options = GenerationConfig()
        options.max_new_tokens = tokens
        options.ignore_eos = True
        options.do_sample = False
        handles = [  # a request whose handle is dropped ends at once
            pipeline.add_request(number, openvino.Tensor([prompt]), options)
            for number, prompt in enumerate(prompts)
        ]
        while pipeline.has_non_finished_requests():
            pipeline.step()
        if any(len(handle.read_all()[0].generated_ids) != tokens for handle in handles):
            raise SystemExit("OpenVINO ended a request early")

    return serve


def export_to_openvino(directory: Path) -> Path | None:
    """Export the model, with tools installed into a venv of their own; none if that fails."""
    exported = directory / "openvino"
    steps = [
        [str(PYTHON), "-m", "pip", "install", "--quiet", *PACKAGES],
        # It comes for CUDA and breaks the import of transformers beside a torch for CPUs.
        [str(PYTHON), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"],
    ]
    export = [
        *(str(VENV / "bin/optimum-cli"), "export", "openvino", "--model", str(directory)),
        *("--task", "text-generation-with-past", "--weight-format", "fp32"),
        *("--disable-convert-tokenizer", str(exported)),
    ]
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    else:
        steps = []
    for step in (*steps, export):
        result = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"openvino is left out: {reason}", file=sys.stderr)
            return None
    return exported
