"""The simulated service: replicas, each with a GPU and its text stages, behind shims."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, repeat

from scripts.scaling.costs import HANDOFF, ROUND_SECONDS, Cost, Costs, Gpu
from scripts.scaling.events import Action, Clock, Cores, Phase, Process


@dataclass(slots=True)
class Delivered:
    """What clients have received."""

    tokens: int = 0
    responses: int = 0


class Shim:
    """A process of the HTTP API, and what it hands text to."""

    def __init__(self, clock: Clock, cores: Cores, costs: Costs, delivered: Delivered):
        self._cores, self._costs, self._delivered = cores, costs, delivered
        self._shim, self._client = Process(clock), Process(clock)

    def pass_on(self, tokens: int) -> None:
        """Pass a response to the client."""
        self._shim.do(
            _phases(self._cores, tokens, self._costs.shim),
            lambda: self._client.do(
                _phases(self._cores, tokens, self._costs.client), lambda: self._count(tokens)
            ),
        )

    def _count(self, tokens: int) -> None:
        self._delivered.tokens += tokens
        self._delivered.responses += 1


class TextPath:
    """A replica's way from the engine to the socket, a response at a time in each process."""

    def __init__(self, clock: Clock, cores: Cores, costs: Costs):
        self._cores, self._costs = cores, costs
        self._engine, self._postprocessing = Process(clock), Process(clock)

    def send(self, shim: Shim, tokens: int, sent: Action) -> None:
        """Send a response; `sent` is called when the engine may send another."""

        def leave() -> None:
            sent()
            self._postprocessing.do(
                _exchange(self._cores, tokens, self._costs.postprocessing, self._costs.triton_out),
                lambda: shim.pass_on(tokens),
            )

        self._engine.do(
            _exchange(self._cores, tokens, self._costs.engine, self._costs.triton_in), leave
        )


def _exchange(cores: Cores, tokens: int, python: Cost | None, triton: Cost) -> list[Phase]:
    """A Python model's response, which it and tritonserver handle one after the other."""
    if python is None:
        return _phases(cores, tokens, triton)
    return [*_phases(cores, tokens, python), (None, HANDOFF), *_phases(cores, tokens, triton)]


def _phases(cores: Cores, tokens: int, cost: Cost | None) -> list[Phase]:
    return [] if cost is None else [(cores, cost.of(tokens))]


@dataclass(slots=True, eq=False)
class Stream:
    """One user's replies, which follow each other."""

    shim: Shim
    next_round: float
    """Its tokens wait until then."""
    waiting: int = 0
    """Tokens that were made and not sent."""
    is_queued: bool = False


class Replica:
    """A GPU that gives each of its streams a token at each step."""

    def __init__(
        self, clock: Clock, path: TextPath, gpu: Gpu, shims: Iterable[Shim], delay: float = 0.0
    ):
        """Start it with a full batch.

        Args:
            clock: of the simulation.
            path: takes the responses.
            gpu: how fast it is, and its number of streams.
            shims: where each stream goes.
            delay: seconds until its first step.
        """
        self._clock, self._path = clock, path
        size = gpu.max_batch_size
        self._step_seconds = gpu.step
        tokens_a_round = int(ROUND_SECONDS / self._step_seconds)
        self._streams = [
            # In the middle of their rounds, as requests are that came one by one.
            Stream(
                shim,
                next_round=delay + ROUND_SECONDS * number / size,
                waiting=tokens_a_round - tokens_a_round * number // size,
            )
            for number, shim in zip(range(size), shims, strict=False)
        ]
        clock.after(delay + self._step_seconds, self._step)

    def _step(self) -> None:
        for stream in self._streams:
            stream.waiting += 1
            if not stream.is_queued and self._clock.now >= stream.next_round:
                self._queue(stream)
        self._clock.after(self._step_seconds, self._step)

    def _queue(self, stream: Stream) -> None:
        stream.is_queued = True
        tokens, stream.waiting = stream.waiting, 0
        stream.next_round = self._clock.now + ROUND_SECONDS

        def sent() -> None:
            stream.is_queued = False

        self._path.send(stream.shim, tokens, sent)


@dataclass(frozen=True, slots=True)
class Result:
    """What a simulated service delivers in a second."""

    tokens: float
    responses: float
    made: float
    """Tokens that its GPUs could make."""


def simulate(
    gpu: Gpu, replicas: int, shims: int, costs: Costs, *, cores: int, seconds: float
) -> Result:
    """Run full batches on all replicas.

    Args:
        gpu: of each replica.
        replicas: how many.
        shims: how many processes share the streams, each with a core of its own.
        costs: of a response.
        cores: of each replica's pod.
        seconds: simulated; the first half is not counted.
    """
    clock, delivered = Clock(), Delivered()
    fronts = cycle([Shim(clock, Cores(clock, 1), costs, delivered) for _ in range(shims)])
    for number in range(replicas):
        path = TextPath(clock, Cores(clock, cores), costs)
        # Not in step with each other.
        Replica(clock, path, gpu, fronts, delay=ROUND_SECONDS * number / replicas)
    clock.run(seconds / 2)
    tokens, responses = delivered.tokens, delivered.responses
    clock.run(seconds)
    return Result(
        tokens=(delivered.tokens - tokens) / (seconds / 2),
        responses=(delivered.responses - responses) / (seconds / 2),
        made=replicas * gpu.max_batch_size / gpu.step,
    )


def one_machine(costs: Costs, cores: int, streams: int, tokens: int, pace: float | None) -> float:
    """Return the tokens per second of the benchmark that gave the costs: all on one machine.

    Args:
        costs: of a response.
        cores: of the machine.
        streams: at once.
        tokens: of all streams together.
        pace: tokens per second that the engine makes, joined by rounds; if None it makes one after
            the other as fast as they are taken, each a response.
    """
    clock, delivered = Clock(), Delivered()
    machine = Cores(clock, cores)
    path, shim = TextPath(clock, machine, costs), Shim(clock, machine, costs, delivered)
    if pace is not None:
        gpu = Gpu("null engine", 0.0, pace, streams, ())
        Replica(clock, path, gpu, repeat(shim))
        clock.run(tokens / pace)
        return delivered.tokens / clock.now
    left = tokens

    def make_one() -> None:
        nonlocal left
        if left:
            left -= 1
            path.send(shim, 1, make_one)

    make_one()
    clock.run()
    return delivered.tokens / clock.now
