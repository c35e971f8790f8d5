"""Compare the reference engine with other ways to serve the same random model.

N greedy requests of equal length are handed in together; the figure is generated tokens per second
until the last has ended, prefill included. Every row runs in a process of its own: thread pools of
one would slow down another. Rows of one run can be compared, runs can not.

On a GPU, if torch sees one:
    bench_engine.py --model mistral-7b --dtypes bfloat16 --concurrency 1 16 64 \
        --systems generate generate-batch engine --no-openvino
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

Prompts = list[list[int]]
Serve = Callable[[Prompts, int], None]
"""Continues every prompt by exactly that many tokens; returns when all are done."""

MODELS = {
    "big": {
        "vocab_size": 8192,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
    },
    "tiny": {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "mistral-7b": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
LONG_PROMPT = 2000
UNDISTURBED_STEPS = 20
OPENVINO_VENV = Path(".run/openvino-venv")
OPENVINO_PACKAGES = ["optimum-intel==2.2.0", "openvino-genai==2026.4.1"]


def make_model(directory: Path, name: str) -> None:
    """Write a random Llama; weights are spread wide enough that logits have no ties."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from reference_engine.hardware import best_device

    config = LlamaConfig(**MODELS[name], max_position_embeddings=4096)
    device = best_device()
    with device, torch.no_grad():
        model = LlamaForCausalLM(config).bfloat16()
        generator = torch.Generator(device).manual_seed(0)
        for each, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in each else 0.0, 0.05, generator=generator)
    model.save_pretrained(directory)


def engine(directory: Path, dtype: str) -> Serve:
    """Return the reference engine."""
    from reference_engine.engine import ReferenceEngine
    from reference_engine.interface import EngineRequest, TokenEvent

    served = ReferenceEngine(directory, max_batch_size=64, max_seq_len=512, dtype=dtype)

    def serve(prompts: Prompts, tokens: int) -> None:
        done = threading.Semaphore(0)

        def on_event(event: TokenEvent) -> None:
            if event.error is not None:
                raise SystemExit(f"the engine failed: {event.error}")
            if event.is_final:
                done.release()

        for prompt in prompts:
            served.submit(EngineRequest("", prompt, tokens, streaming=True), on_event)
        for _ in prompts:
            done.acquire()

    return serve


def generate(directory: Path, dtype: str) -> Serve:
    """Return `transformers.generate`, one request after the other.

    Two requests stand for all: the rate does not depend on how many wait.
    """
    serve_batch = generate_batch(directory, dtype)

    def serve(prompts: Prompts, tokens: int) -> None:
        for prompt in prompts:
            serve_batch([prompt], tokens)

    return serve


def generate_batch(directory: Path, dtype: str) -> Serve:
    """Return `transformers.generate`, all requests in lock step."""
    import torch

    model = _transformers_model(directory, dtype)

    def serve(prompts: Prompts, tokens: int) -> None:
        ids = torch.tensor(prompts, device=model.device)
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )

    return serve


def continuous_batching(directory: Path, dtype: str) -> Serve:
    """Return transformers' own continuous batching."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    manager = _transformers_model(directory, dtype).init_continuous_batching(
        GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
        # Without a number of blocks it takes most of the machine's memory.
        ContinuousBatchingConfig(num_blocks=64, use_cuda_graph=False),
    )
    manager.start()

    def serve(prompts: Prompts, tokens: int) -> None:
        manager.add_requests(prompts, max_new_tokens=tokens)
        for _ in prompts:
            result = manager.get_result()
            if result is None or len(result.generated_tokens) != tokens:
                raise SystemExit("continuous batching failed or ended a request early")

    return serve


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
        for number, prompt in enumerate(prompts):
            pipeline.add_request(number, openvino.Tensor([prompt]), options)
        while pipeline.has_non_finished_requests():
            pipeline.step()

    return serve


STALL = "engine-stall"
SYSTEMS: dict[str, Callable[[Path, str], Serve]] = {
    "generate": generate,
    "generate-batch": generate_batch,
    "continuous-batching": continuous_batching,
    "engine": engine,
    "openvino": openvino,
}


def measure(arguments: argparse.Namespace) -> None:
    """Print tokens/s by concurrency as JSON: the best of the repetitions of one row."""
    serve = SYSTEMS[arguments.system](arguments.model_dir, arguments.dtype)
    numbers = random.Random(0)  # noqa: S311

    def prompts(count: int) -> Prompts:
        return [[numbers.randrange(4096) for _ in range(arguments.prompt)] for _ in range(count)]

    serve(prompts(2), 8)  # warm up
    rates = {}
    for concurrency in arguments.concurrency:
        count = min(2, concurrency) if arguments.system == "generate" else concurrency
        best = float("inf")
        for _ in range(arguments.repetitions):
            batch = prompts(count)
            started = time.perf_counter()
            serve(batch, arguments.tokens)
            best = min(best, time.perf_counter() - started)
        rates[concurrency] = count * arguments.tokens / best
    print(json.dumps(rates), flush=True)
    os._exit(0)  # the thread of transformers' continuous batching would go on


def measure_stall(arguments: argparse.Namespace) -> None:
    """Print how long a stream of the engine waits at most while a long prompt arrives, as JSON."""
    from reference_engine.engine import ReferenceEngine
    from reference_engine.interface import EngineRequest, TokenEvent

    served = ReferenceEngine(arguments.model_dir, max_seq_len=4096, dtype=arguments.dtype)
    times: list[float] = []
    done = threading.Semaphore(0)
    long_prompt = random.Random(0).choices(range(4096), k=LONG_PROMPT)  # noqa: S311

    def on_event(event: TokenEvent) -> None:
        times.append(time.perf_counter())
        if len(times) == UNDISTURBED_STEPS:
            served.submit(EngineRequest("", long_prompt, 1), lambda _: served.cancel("stream"))
        if event.is_final:
            done.release()

    served.submit(EngineRequest("stream", [5, 6, 7], 2000, streaming=True), on_event)
    done.acquire()
    gaps = [after - before for before, after in pairwise(times)]
    step = statistics.median(gaps[1 : UNDISTURBED_STEPS - 1])
    gaps = sorted(gaps[UNDISTURBED_STEPS - 1 :])
    print(json.dumps({"step": step, "longest": gaps[-1], "median": statistics.median(gaps)}))


def bench(arguments: argparse.Namespace, directory: Path) -> None:
    """Print the table, one process a row."""
    make_model(directory, arguments.model)
    heading = "".join(f"{number:>9}" for number in arguments.concurrency)
    print(f"{arguments.model} model, tokens/s with N requests at once")
    print(f"{'':<32}{heading}")
    rows = [
        (sys.executable, system, dtype, directory)
        for dtype in arguments.dtypes
        for system in arguments.systems
    ]
    if arguments.openvino and (exported := export_to_openvino(directory)):
        python = str(OPENVINO_VENV / "bin/python")
        rows += [(python, "openvino", dtype, exported) for dtype in ("float32", "default")]
    for row in rows:
        rates = run_row(arguments, *row)
        heading = f"{row[1]} {row[2]}"
        print(f"{heading:<32}" + "".join(f"{rate:>9.0f}" for rate in rates.values()), flush=True)
    for dtype in arguments.dtypes:
        times = run_row(arguments, sys.executable, STALL, dtype, directory)
        if times:
            print(
                f"engine {dtype}: while a prompt of {LONG_PROMPT} tokens arrives, a stream waits"
                f" {times['median'] / times['step']:.1f} decode steps a token and at most"
                f" {times['longest'] / times['step']:.1f}; a step is {1000 * times['step']:.0f} ms"
            )


def run_row(
    arguments: argparse.Namespace, python: str, system: str, dtype: str, directory: Path
) -> dict[str, float]:
    """Measure one row in a process of its own; empty if that fails."""
    command = [
        *(python, __file__, "--system", system, "--model-dir", str(directory), "--dtype", dtype),
        *("--concurrency", *map(str, arguments.concurrency)),
        *("--prompt", str(arguments.prompt), "--tokens", str(arguments.tokens)),
        *("--repetitions", str(arguments.repetitions)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{system} {dtype} failed: {reason}", file=sys.stderr)
        return {}
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def export_to_openvino(directory: Path) -> Path | None:
    """Export the model, with tools installed into a venv of their own; none if that fails."""
    exported = directory / "openvino"
    python = OPENVINO_VENV / "bin/python"
    steps = [
        [str(python), "-m", "pip", "install", "--quiet", *OPENVINO_PACKAGES],
        # It comes for CUDA and breaks the import of transformers beside a torch for CPUs.
        [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"],
    ]
    export = [
        *(str(OPENVINO_VENV / "bin/optimum-cli"), "export", "openvino", "--model", str(directory)),
        *("--task", "text-generation-with-past", "--weight-format", "fp32"),
        *("--disable-convert-tokenizer", str(exported)),
    ]
    if not python.exists():
        venv.create(OPENVINO_VENV, with_pip=True)
    else:
        steps = []
    for step in (*steps, export):
        result = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"openvino is left out: {reason}", file=sys.stderr)
            return None
    return exported


def _transformers_model(directory: Path, dtype: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from reference_engine.hardware import best_device

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    return model.eval().to(best_device())


def main() -> None:
    """Print the table, or measure one row of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="big")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--systems",
        choices=SYSTEMS,
        nargs="+",
        default=["generate", "continuous-batching", "engine"],
        help="beside OpenVINO",
    )
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=64, help="generated tokens a request")
    parser.add_argument("--repetitions", type=int, default=3, help="of which the best counts")
    parser.add_argument("--no-openvino", dest="openvino", action="store_false")
    row = parser.add_argument_group("one row, used by the table")
    row.add_argument("--system", choices=[*SYSTEMS, STALL])
    row.add_argument("--model-dir", type=Path)
    row.add_argument("--dtype")
    arguments = parser.parse_args()
    if arguments.system:
        (measure_stall if arguments.system == STALL else measure)(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="aeolus-bench-") as directory:
        bench(arguments, Path(directory))


if __name__ == "__main__":
    main()
