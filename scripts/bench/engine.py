"""Compare the reference engine with other ways to serve the same random model.

N greedy requests of equal length are handed in together; the figure is generated tokens per second
until the last has ended, prefill included. Every row runs in a process of its own: thread pools of
one would slow down another. Rows of one run can be compared, runs cannot.

On a GPU, if torch sees one:
    engine.py --model mistral-7b --dtypes bfloat16 --concurrency 1 16 64 \
        --systems generate generate-batch engine
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.systems import Prompts, System
from scripts.bench.systems.hugging_face import (
    continuous_batching,
    generate,
    generate_batch,
    write_random_model,
)
from scripts.bench.systems.openvino_genai import OPENVINO
from scripts.bench.systems.reference import LONG_PROMPT, engine, measure_stall
from scripts.bench.systems.vllm_cpu import VLLM

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
STALL = "engine-stall"
SYSTEMS = {
    "generate": System(generate),
    "generate-batch": System(generate_batch),
    "continuous-batching": System(continuous_batching),
    "engine": System(engine),
    "openvino": OPENVINO,
    "vllm": VLLM,
}
REPOSITORY = Path(__file__).parents[2]


def make_model(directory: Path, name: str) -> None:
    """Write a random Llama."""
    from transformers import LlamaConfig

    config = LlamaConfig(**MODELS[name], max_position_embeddings=4096)
    write_random_model(config, directory, "bfloat16")


def measure(arguments: argparse.Namespace) -> None:
    """Print tokens/s by concurrency as JSON: the best of the repetitions of one row."""
    serve = SYSTEMS[arguments.system].load(arguments.model_dir, arguments.dtype)
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


def bench(arguments: argparse.Namespace, directory: Path) -> None:
    """Print the table, one process a row."""
    make_model(directory, arguments.model)
    heading = "".join(f"{number:>9}" for number in arguments.concurrency)
    print(f"{arguments.model} model, tokens/s with N requests at once")
    print(f"{'':<32}{heading}")
    for name in arguments.systems:
        system = SYSTEMS[name]
        with left_out_if_it_fails(name):
            model = system.prepare(directory)
            for dtype in system.dtypes or arguments.dtypes:
                heading = f"{name} {dtype}"
                with left_out_if_it_fails(heading):
                    rates = run_row(arguments, system.python, name, dtype, model)
                    columns = "".join(f"{rate:>9.0f}" for rate in rates.values())
                    print(f"{heading:<32}{columns}", flush=True)
    for dtype in arguments.dtypes:
        with left_out_if_it_fails(f"{STALL} {dtype}"):
            times = run_row(arguments, sys.executable, STALL, dtype, directory)
            print(
                f"engine {dtype}: while a prompt of {LONG_PROMPT} tokens arrives, a stream waits"
                f" {times['median'] / times['step']:.1f} decode steps a token and at most"
                f" {times['longest'] / times['step']:.1f}; a step is {1000 * times['step']:.0f} ms"
            )


@contextmanager
def left_out_if_it_fails(rows: str) -> Iterator[None]:
    """Report a command that fails, and go on behind this context."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "no message").strip().splitlines()[-1]
        print(f"{rows} is left out, exit status {error.returncode}: {reason}", file=sys.stderr)


def run_row(
    arguments: argparse.Namespace, python: str, system: str, dtype: str, directory: Path
) -> dict[str, float]:
    """Measure one row in a process of its own; CalledProcessError if that fails."""
    command = [
        *(python, __file__, "--system", system, "--model-dir", str(directory), "--dtype", dtype),
        *("--concurrency", *map(str, arguments.concurrency)),
        *("--prompt", str(arguments.prompt), "--tokens", str(arguments.tokens)),
        *("--repetitions", str(arguments.repetitions)),
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}  # where this is not installed
    result = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True, env=environment
    )
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


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
        default=[name for name in SYSTEMS if name != "generate-batch"],
    )
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=64, help="generated tokens a request")
    parser.add_argument("--repetitions", type=int, default=3, help="of which the best counts")
    row = parser.add_argument_group("one row, used by the table")
    row.add_argument("--system", choices=[*SYSTEMS, STALL])
    row.add_argument("--model-dir", type=Path)
    row.add_argument("--dtype")
    arguments = parser.parse_args()
    if arguments.system:
        if arguments.system == STALL:
            print(json.dumps(measure_stall(arguments.model_dir, arguments.dtype)))
        else:
            measure(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="aeolus-bench-") as directory:
        bench(arguments, Path(directory))


if __name__ == "__main__":
    main()
