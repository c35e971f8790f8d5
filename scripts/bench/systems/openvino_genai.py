"""OpenVINO GenAI, with the tools to export a model for it in a venv of their own."""

from pathlib import Path

from scripts.bench.own_venv import OwnVenv
from scripts.bench.systems import Prompts, Serve, System

VENV = OwnVenv("openvino", ["optimum-intel==2.2.0", "openvino-genai==2026.4.1"])


def load(directory: Path, precision: str) -> Serve:
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


def export(directory: Path) -> Path:
    """Export the model for OpenVINO; CalledProcessError if that fails."""
    exported = directory / "openvino"
    VENV.run(
        *("optimum-cli", "export", "openvino", "--model", str(directory)),
        *("--task", "text-generation-with-past", "--weight-format", "fp32"),
        *("--disable-convert-tokenizer", str(exported)),
    )
    return exported


OPENVINO = System(load, VENV, dtypes=("float32", "default"), convert=export)
