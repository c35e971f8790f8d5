"""The reference engine, as the other systems, and how long its streams wait for a long prompt."""

import random
import statistics
import threading
import time
from itertools import pairwise
from pathlib import Path

from scripts.bench.systems import Prompts, Serve

LONG_PROMPT = 2000
UNDISTURBED_STEPS = 20


def engine(directory: Path, dtype: str) -> Serve:
    """Return the reference engine."""
    from engine_step.interface import EngineRequest, TokenEvent
    from reference_engine.config import EngineConfig
    from reference_engine.engine import ReferenceEngine

    served = ReferenceEngine(
        EngineConfig.resolve(directory, max_batch_size=64, max_seq_len=512, dtype=dtype)
    )

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


def measure_stall(directory: Path, dtype: str) -> dict[str, float]:
    """Return how long a stream of the engine waits for a token while a long prompt arrives.

    In seconds: the median and the longest time, and that of an undisturbed step.
    """
    from engine_step.interface import EngineRequest, TokenEvent
    from reference_engine.config import EngineConfig
    from reference_engine.engine import ReferenceEngine

    served = ReferenceEngine(EngineConfig.resolve(directory, max_seq_len=4096, dtype=dtype))
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
    return {"step": step, "longest": gaps[-1], "median": statistics.median(gaps)}
