"""The clock of a simulation, processors, and processes that do one job after the other."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Clock:
    """Runs actions at their simulated times, in seconds; those of one time in their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Action]] = []
        self._order = count()

    def after(self, seconds: float, action: Action) -> None:
        """Run an action later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def run(self, until: float = float("inf")) -> None:
        """Run what is to happen until then, or until nothing is left."""
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()


class Cores:
    """The processors of one machine, shared by its processes in the order of their asking."""

    def __init__(self, clock: Clock, number: int):
        self._clock = clock
        self._free = number
        self._waiting: deque[tuple[float, Action]] = deque()

    def run(self, seconds: float, done: Action) -> None:
        """Occupy a processor for so long as soon as one is free."""
        if not self._free:
            self._waiting.append((seconds, done))
            return
        self._free -= 1

        def end() -> None:
            self._free += 1
            if self._waiting:
                self.run(*self._waiting.popleft())
            done()

        self._clock.after(seconds, end)


Phase = tuple[Cores | None, float]
"""Where a part of a job runs and for how long; on no processor it waits."""


class Process:
    """Does one job at a time; a job's phases follow each other, also on other machines."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._jobs: deque[tuple[list[Phase], Action]] = deque()
        self._is_busy = False

    def do(self, phases: list[Phase], done: Action) -> None:
        """Do a job after those that came before."""
        self._jobs.append((phases, done))
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        if not self._jobs:
            self._is_busy = False
            return
        self._is_busy = True
        phases, done = self._jobs.popleft()
        self._phase(phases, 0, done)

    def _phase(self, phases: list[Phase], number: int, done: Action) -> None:
        if number == len(phases):
            done()
            self._next()
            return
        cores, seconds = phases[number]

        def then() -> None:
            self._phase(phases, number + 1, done)

        if cores is None:
            self._clock.after(seconds, then)
        else:
            cores.run(seconds, then)
