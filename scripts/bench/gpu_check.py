"""Check and measure the reference engine on the machine at hand, a GPU if it has one.

    PYTHONPATH=.:client:contract python -m scripts.bench.gpu_check --output gpu_check.json

Needs torch and transformers, with what they bring, and nothing else of ours. Writes one JSON:
whether greedy tokens equal those of transformers in float32, on a small random model of each
architecture; and for a random Mistral 7B in bfloat16 tokens per second beside `generate` in lock
step and transformers' continuous batching, the time of a decode step, and which part of the
memory's bandwidth, as a copy on the device reaches it, that step uses.
`--shape small` is for a CPU.
"""

import argparse
import gc
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    StableLmConfig,
)

from engine_step.interface import EngineRequest, TokenEvent
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.hardware import best_device
from scripts.bench.engine import MODELS
from scripts.bench.systems.hugging_face import transformers_model, write_random_model

PROMPT_TOKENS = 64
EQUAL, EQUAL_TOKENS = 8, 16
"""Requests, and tokens of each, that are compared with transformers."""
SMALL = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "mistral": MistralConfig(**SMALL, sliding_window=None),
    "stablelm": StableLmConfig(**SMALL | {"num_key_value_heads": 8}, partial_rotary_factor=0.25),
}
SHAPES: dict[str, PreTrainedConfig] = {
    "small": ARCHITECTURES["mistral"],
    "mistral-7b": MistralConfig(
        **MODELS["mistral-7b"], max_position_embeddings=2048, sliding_window=None
    ),
}


def main() -> None:
    """Check, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--shape", choices=SHAPES, default="mistral-7b")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--tokens", type=int, default=128, help="generated tokens a sequence")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="aeolus-gpu-check-") as directory:
        report = {
            "device": _device_name(),
            "torch": torch.__version__,
            "greedy_equals_transformers": {
                name: equals_transformers(config, Path(directory) / name)
                for name, config in ARCHITECTURES.items()
            },
            "shape": arguments.shape,
            "measured": measure(
                SHAPES[arguments.shape],
                Path(directory) / "measured",
                arguments.sequences,
                arguments.tokens,
            ),
        }
    report["seconds"] = round(time.perf_counter() - started, 1)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")


def equals_transformers(config: PreTrainedConfig, directory: Path) -> bool:
    """Say whether greedy requests of several lengths, at once, get what each gets alone."""
    write_random_model(config, directory, "float32")
    numbers = random.Random(0)  # noqa: S311
    prompts = [_prompt(numbers, config, 1 + 13 * index) for index in range(EQUAL)]
    engine = ReferenceEngine(
        EngineConfig.resolve(directory, max_batch_size=EQUAL, max_seq_len=512, dtype="float32")
    )
    outputs, _ = run(engine, prompts, EQUAL_TOKENS)
    engine.shutdown()
    model = transformers_model(directory, "float32")
    return all(
        output == _generate(model, [prompt], EQUAL_TOKENS)[0]
        for prompt, output in zip(prompts, outputs, strict=True)
    )


def measure(
    config: PreTrainedConfig, directory: Path, counts: list[int], tokens: int
) -> dict[str, Any]:
    """Return rates and step times by the number of sequences, in bfloat16."""
    write_random_model(config, directory, "bfloat16")
    _free()
    numbers = random.Random(1)  # noqa: S311
    batches = {
        count: [_prompt(numbers, config, PROMPT_TOKENS) for _ in range(count)] for count in counts
    }
    rows = engine_rows(directory, batches, tokens)
    _free()
    model = transformers_model(directory, "bfloat16")
    weights = sum(each.nbytes for name, each in model.named_parameters() if "embed" not in name)
    head_dim = config.hidden_size // config.num_attention_heads
    cache = 4 * config.num_hidden_layers * config.num_key_value_heads * head_dim  # bytes a token
    bandwidth = copy_bandwidth()
    _generate(model, batches[counts[0]], 8)  # warm up
    for count, prompts in batches.items():
        seconds, _ = _timed(partial(_generate, model, prompts, tokens))
        rows[count]["generate_tokens_per_second"] = count * tokens / seconds
        read = weights + count * cache * (PROMPT_TOKENS + tokens / 2)
        step = rows[count]["decode_step_ms"] / 1000
        rows[count]["bandwidth_fraction"] = read / step / bandwidth
    for count, prompts in batches.items():
        rate = continuous_batching_rate(model, prompts, tokens)
        if rate is not None:
            rows[count]["continuous_batching_tokens_per_second"] = rate
    return {
        "weights_bytes": weights,
        "copy_bandwidth_bytes_per_second": round(bandwidth),
        "by_sequences": {
            str(count): {name: float(f"{value:.4g}") for name, value in row.items()}
            for count, row in rows.items()
        },
    }


def engine_rows(
    directory: Path, batches: dict[int, list[list[int]]], tokens: int
) -> dict[int, dict[str, float]]:
    """Return the engine's rate and step time for each batch of prompts."""
    engine = ReferenceEngine(
        EngineConfig.resolve(
            directory,
            max_batch_size=max(batches),
            max_seq_len=PROMPT_TOKENS + tokens,
            dtype="bfloat16",
        )
    )
    run(engine, next(iter(batches.values())), 8)  # warm up
    rows = {}
    for count, prompts in batches.items():
        seconds, (_, times) = _timed(partial(run, engine, prompts, tokens))
        rows[count] = {
            "engine_tokens_per_second": count * tokens / seconds,
            "decode_step_ms": 1000 * _step_seconds(times),
        }
    engine.shutdown()
    return rows


def run(
    engine: ReferenceEngine, prompts: list[list[int]], tokens: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Return the tokens of each greedy request, all handed in at once, and when each came."""
    outputs: list[list[int]] = [[] for _ in prompts]
    times: list[list[float]] = [[] for _ in prompts]
    done = threading.Semaphore(0)
    failures: list[str] = []

    def receiver(index: int) -> Callable[[TokenEvent], None]:
        def on_event(event: TokenEvent) -> None:
            if event.error is not None:
                failures.append(str(event.error))
            else:
                outputs[index] += event.output_ids[0]
                times[index].append(time.perf_counter())
            if event.is_final:
                done.release()

        return on_event

    for index, prompt in enumerate(prompts):
        request = EngineRequest(f"{index}", prompt, tokens, streaming=True)
        engine.submit(request, receiver(index))
    for _ in prompts:
        done.acquire()
    if failures:
        raise SystemExit(f"the engine failed: {failures[0]}")
    return outputs, times


def copy_bandwidth(repetitions: int = 10) -> float:
    """Return the bytes a second that a copy on the device reads and writes."""
    device = best_device()
    source = torch.empty((1 << 30) if device.type == "cuda" else (1 << 24), device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds, _ = _timed(lambda: [target.copy_(source) for _ in range(repetitions)])
    return 2 * repetitions * source.nbytes / seconds


def continuous_batching_rate(model: Any, prompts: list[list[int]], tokens: int) -> float | None:
    """Return the tokens a second of transformers' continuous batching; none if it fails."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    blocks = 8 + len(prompts) * (2 + (PROMPT_TOKENS + tokens) // 32)
    try:
        manager = model.init_continuous_batching(
            GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
            ContinuousBatchingConfig(num_blocks=blocks, use_cuda_graph=False),
        )
        manager.start()
        started = time.perf_counter()
        manager.add_requests(prompts, max_new_tokens=tokens)
        results = [manager.get_result(timeout=60) for _ in prompts]
        seconds = time.perf_counter() - started
        manager.stop(block=True)
    except Exception as error:
        print(f"continuous batching is left out: {error!r}")
        return None
    if any(result is None or len(result.generated_tokens) != tokens for result in results):
        print("continuous batching is left out: a request ended early")
        return None
    return len(prompts) * tokens / seconds


def _generate(model: Any, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    ids = torch.tensor(prompts, device=model.device)
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=0,
    )
    replies: list[list[int]] = output[:, ids.shape[1] :].tolist()
    return replies


def _prompt(numbers: random.Random, config: PreTrainedConfig, length: int) -> list[int]:
    return [numbers.randrange(config.vocab_size) for _ in range(length)]


def _step_seconds(times: list[list[float]]) -> float:
    """Return the median time from token to token once every sequence has its first."""
    all_run = max(each[0] for each in times)
    gaps = [
        later - earlier for each in times for earlier, later in pairwise(each) if earlier >= all_run
    ]
    return statistics.median(gaps)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    _synchronize()
    started = time.perf_counter()
    result = work()
    _synchronize()
    return time.perf_counter() - started, result


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
