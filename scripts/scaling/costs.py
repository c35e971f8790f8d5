"""What a response costs each process, as measured, and how fast GPUs make tokens.

Processor time of `make bench-text` and of NVIDIA's backend code in front of a stand-in executor
(docs/scaling.md); the costs of a joined response are a line through one token and the joined row.
"""

from dataclasses import dataclass, replace

MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of one response."""

    microseconds: float
    per_token: float = 0.0
    """Microseconds for each token beyond the first."""

    def of(self, tokens: int) -> float:
        """Return the seconds of a response with so many tokens."""
        return MICROSECOND * (self.microseconds + self.per_token * (tokens - 1))


@dataclass(frozen=True, slots=True)
class Costs:
    """Of each stage on a response's way to the client."""

    engine: Cost | None
    """The Python process of the engine step; None with NVIDIA's C++ backend."""
    triton_in: Cost
    """tritonserver, between the engine and postprocessing."""
    postprocessing: Cost | None
    triton_out: Cost
    """tritonserver, between postprocessing and the socket."""
    shim: Cost | None
    client: Cost | None
    """The load generator, where it shares the machine."""


HANDOFF = 31 * MICROSECOND
"""A Python model and tritonserver wait for each other at each response. The only figure that was
fitted: to the row `floor`, whose processes use 1.4 of 2 cores."""
ROUND_SECONDS = 0.02
"""`response_round_ms`: a stream's tokens go out together once in so long."""

FLOOR = Costs(Cost(76), Cost(118), None, Cost(0), None, Cost(119))
OURS = Costs(Cost(65, 9), Cost(118, 4), Cost(64, 4.8), Cost(73, 3), None, Cost(83, 4.5))
STATELESS = Costs(Cost(62), Cost(118), Cost(57), Cost(41), None, Cost(88))
CPP = Costs(None, Cost(47), Cost(35), Cost(73), None, Cost(71))
CPP_SHIM = Costs(None, Cost(47), Cost(35), Cost(73), Cost(70), Cost(71))
PRODUCTION = replace(OURS, shim=Cost(70, 3), client=None)


@dataclass(frozen=True, slots=True)
class Gpu:
    """How one replica makes tokens."""

    name: str
    step_seconds: float
    """The shortest decode step: the weights are read once."""
    tokens_per_second: float
    """The most that all its streams get."""
    max_batch_size: int
    replicas: tuple[int, ...]
    """The numbers of replicas that are simulated."""

    @property
    def step(self) -> float:
        """Seconds between two tokens of a stream in a full batch."""
        return max(self.step_seconds, self.max_batch_size / self.tokens_per_second)


A10G = Gpu("Mistral 7B, A10G, float16", 14.48e9 / 600e9, 1_990, 48, (1, 4, 16, 64, 256))
"""Read at 600 GB/s; the tokens of 48 streams at that step, as nothing is published for it."""
H200 = Gpu("Mistral 7B, H200, FP8", 7.5e9 / 4800e9, 18_426, 256, (1, 2, 4, 8, 16))
"""NVIDIA's published 1000/1000 figure (TensorRT-LLM 0.17, performance overview)."""
