"""Measure what a guided request costs the others: `make bench-guided`.

16 streams run at once on the reference engine, a random model of 12 layers with 32,000 made tokens.
The figure is the tokens/s of 15 of them while the 16th is guided by a schema, beside those while
it is not; rounds of each kind take turns, for the machine's pace may change. A guide is compiled in
the round (new), or was before (known). Only the ratios of one run can be compared.
"""

import argparse
import json
import queue
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine_step.interface import EngineRequest, SamplingConfig, TokenEvent
from guided_decoding.guide import Guide
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from scripts.bench.engine import MODELS, make_model

STREAMS = 16
VOCABULARY = 32_000
END = 0
KINDS = ("unguided", "known", "new")


def write_tokenizer(directory: Path) -> None:
    """Write a byte-level vocabulary of the printable characters and words made of them."""
    numbers = random.Random(0)  # noqa: S311
    letters = [chr(code) for code in range(0x21, 0x7F)]
    vocabulary = dict.fromkeys(["</s>", *letters, "Ġ", "Ċ"])
    while len(vocabulary) < VOCABULARY:
        word = "".join(numbers.choices(letters[32:58] + letters[64:90], k=numbers.randint(2, 9)))
        vocabulary[numbers.choice(["", "Ġ"]) + word] = None
    content = {
        "version": "1.0",
        "added_tokens": [{"id": END, "content": "</s>", "special": True}],
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(vocabulary)},
            "merges": [],
        },
    }
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def schemas() -> Iterator[str]:
    """Yield schemas that a reply cannot come to the end of, no two alike."""
    number = 0
    while True:
        number += 1
        wind = {
            "type": "object",
            "properties": {
                f"name{number}": {"type": "string"},
                "knots": {"type": "integer", "minimum": 0, "maximum": 99},
                "from": {"enum": ["north", "east", "south", "west"]},
                "gusts": {"type": "array", "items": {"type": "number"}, "minItems": 1},
            },
        }
        wind["required"] = [*wind["properties"]]
        yield json.dumps({"type": "array", "items": wind, "minItems": 1000})


@dataclass(frozen=True, slots=True)
class Round:
    """What the others had of a round."""

    seconds: float
    cpu_seconds: float
    """Of the whole process; on a busy machine the steadier figure."""


def others_of(engine: ReferenceEngine, tokens: int, guide: Guide | None) -> Round:
    """Run so many tokens of all streams but one, which has a guide and goes on to their end."""
    done = threading.Semaphore(0)

    def on_event(event: TokenEvent) -> None:
        if event.error is not None:
            raise SystemExit(f"the engine failed: {event.error}")
        if event.is_final:
            done.release()

    sampling = SamplingConfig(top_k=50, seed=1)
    started, cpu_started = time.perf_counter(), time.process_time()
    request = EngineRequest(
        "guided", [5] * 32, 4 * tokens, END, sampling=sampling, streaming=True, guide=guide
    )
    ends: queue.Queue[TokenEvent] = queue.Queue()
    engine.submit(request, lambda event: ends.put(event) if event.is_final else None)
    for number in range(STREAMS - 1):
        prompt = [6 + number] * 32
        engine.submit(
            EngineRequest("", prompt, tokens, sampling=sampling, streaming=True), on_event
        )
    for _ in range(STREAMS - 1):
        done.acquire()
    taken = Round(time.perf_counter() - started, time.process_time() - cpu_started)
    engine.cancel("guided")
    end = ends.get()
    if end.error is not None or end.finish_reasons != ["cancelled"]:
        raise SystemExit(f"the guided request has not run beside the others to their end: {end}")
    return taken


def main() -> None:
    """Print the median tokens/s of the others by kind of round, and the ratios to unguided."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="big")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    MODELS[arguments.model] |= {"vocab_size": VOCABULARY}
    with tempfile.TemporaryDirectory() as directory:
        make_model(Path(directory), arguments.model)
        write_tokenizer(Path(directory))
        engine = ReferenceEngine(
            EngineConfig.resolve(directory, max_batch_size=STREAMS, max_seq_len=1024)
        )
        texts = schemas()
        known = Guide("json_schema", next(texts))
        rounds: dict[str, list[Round]] = {kind: [] for kind in KINDS}
        others_of(engine, 8, known)
        for _ in range(arguments.rounds):
            for kind in KINDS:
                new = Guide("json_schema", next(texts))
                guide = {"unguided": None, "known": known, "new": new}[kind]
                rounds[kind].append(others_of(engine, arguments.tokens, guide))
        engine.shutdown()
    made = (STREAMS - 1) * arguments.tokens
    print(f"{'':<10}{'tokens/s':>10}{'to unguided':>14}{'CPU ms a token':>17}{'to unguided':>14}")
    for kind, found in rounds.items():
        pairs = [*zip(found, rounds["unguided"], strict=True)]
        rate = statistics.median(made / each.seconds for each in found)
        rates = statistics.median(base.seconds / mine.seconds for mine, base in pairs)
        cost = statistics.median(1000 * each.cpu_seconds / made for each in found)
        costs = statistics.median(mine.cpu_seconds / base.cpu_seconds for mine, base in pairs)
        print(f"{kind:<10}{rate:>10.1f}{rates:>14.3f}{cost:>17.2f}{costs:>14.3f}")


if __name__ == "__main__":
    main()
