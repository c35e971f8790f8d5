"""Write what the simulation says: tables for docs/scaling.md to standard output, and its plot.

First it simulates the benchmarks that gave it its costs, and stops where it does not reproduce
them.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.scaling.costs import (
    A10G,
    CPP,
    CPP_SHIM,
    FLOOR,
    H200,
    OURS,
    PRODUCTION,
    STATELESS,
    Costs,
    Gpu,
)
from scripts.scaling.plot import Line, Panel, draw
from scripts.scaling.service import one_machine, simulate

PLOT = Path(__file__).parents[2] / "docs" / "scaling.svg"
TOLERANCE = 0.15
CORES = 4
"""Of a Triton pod, as the Helm chart asks for."""
REPLICAS_PER_SHIM = {A10G.name: 6, H200.name: 3}
FULL = 0.8
"""Shims that deliver less of what the GPUs make are full, and deliver no more for more GPUs."""
MEASURED: list[tuple[str, Costs, float | None, float]] = [
    ("Python engine, no text", FLOOR, None, 4431),
    ("Python engine, our text stage", OURS, None, 4338),
    ("Python engine, stateless text stage", STATELESS, None, 5132),
    ("Python engine, our text stage, joined at 31,900", OURS, 31_900, 29_802),
    ("NVIDIA's C++ backend, gRPC", CPP, None, 7059),
    ("NVIDIA's C++ backend, through the shim", CPP_SHIM, None, 6490),
]
"""Name, costs, pace and tokens per second of 64 streams on 2 cores."""


def main() -> None:
    """Validate, simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="only the comparison with what is known"
    )
    quick = parser.parse_args().quick
    validate()
    if quick:
        return
    text_stages()
    panels = [fleet(gpu) for gpu in (A10G, H200)]
    PLOT.write_text(draw(panels), encoding="utf-8")
    print(PLOT)


def validate() -> None:
    """Compare with the measured rows; ends the program where one is missed."""
    print("| 64 streams on 2 cores | measured, tokens/s | simulated | |\n|---|---|---|---|")
    for name, costs, pace, measured in MEASURED:
        simulated = one_machine(costs, 2, 64, 64_000 if pace else 24_000, pace)
        error = simulated / measured - 1
        print(f"| {name} | {measured:,.0f} | {simulated:,.0f} | {error:+.1%} |")
        if abs(error) > TOLERANCE:
            sys.exit(f"error: {name} is not reproduced within {TOLERANCE:.0%}")


def text_stages() -> None:
    """Print what one replica's text stages pass on, for ever more streams on a fast GPU."""
    print("\n| streams | made, tokens/s | delivered | responses/s | tokens a response |")
    print("|---|---|---|---|---|")
    for streams in (64, 128, 256, 512, 1024):
        gpu = Gpu("", 0.0, 31_900, streams, ())
        result = simulate(gpu, 1, 4, PRODUCTION, cores=CORES, seconds=2)
        print(
            f"| {streams} | {result.made:,.0f} | {result.tokens:,.0f} | {result.responses:,.0f} "
            f"| {result.tokens / result.responses:.1f} |"
        )


def fleet(gpu: Gpu) -> Panel:
    """Print and return what ever more replicas deliver behind one shim, four, and enough."""
    per_shim = REPLICAS_PER_SHIM[gpu.name]
    counts: dict[str, Callable[[int], int]] = {"1 shim": lambda _: 1, "4 shims": lambda _: 4}
    counts[f"1 shim for {per_shim} replicas"] = lambda replicas: math.ceil(replicas / per_shim)
    print(f"\n{gpu.name}, {gpu.max_batch_size} streams a replica, tokens/s:\n")
    print(f"| replicas | GPUs could make | {' | '.join(counts)} |")
    print("|---" * (2 + len(counts)) + "|")
    lines = {name: Line(name, []) for name in ("GPUs", *counts)}
    full: dict[str, float] = {}
    for replicas in gpu.replicas:
        made = replicas * gpu.max_batch_size / gpu.step
        row = []
        for name, shims in counts.items():
            if name not in full:
                seconds = max(0.6, 2 / replicas)
                result = simulate(
                    gpu, replicas, shims(replicas), PRODUCTION, cores=CORES, seconds=seconds
                )
                delivered = result.tokens
            else:
                delivered = full[name]
            if delivered < FULL * made:
                full[name] = delivered
            lines[name].points.append((replicas, delivered))
            row.append(f"{delivered:,.0f}")
        lines["GPUs"].points.append((replicas, made))
        print(f"| {replicas} | {made:,.0f} | {' | '.join(row)} |", flush=True)
    return Panel(gpu.name, "replicas", "tokens/s", list(lines.values()))


if __name__ == "__main__":
    main()
