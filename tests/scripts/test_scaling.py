"""The simulation of docs/scaling.md: it keeps what it must, and reproduces what was measured."""

import pytest

from scripts.scaling.__main__ import MEASURED, TOLERANCE
from scripts.scaling.costs import A10G, PRODUCTION, Costs
from scripts.scaling.events import Clock, Cores, Process
from scripts.scaling.plot import Line, Panel, draw
from scripts.scaling.service import one_machine, simulate


def test_cores_run_as_many_jobs_at_once_as_there_are() -> None:
    clock, ended = Clock(), []
    cores = Cores(clock, 2)
    for number in range(3):
        cores.run(1.0, lambda number=number: ended.append((number, clock.now)))  # type: ignore[misc]
    clock.run()
    assert ended == [(0, 1.0), (1, 1.0), (2, 2.0)]


def test_a_process_does_one_job_at_a_time_and_waits_without_a_core() -> None:
    clock, ended = Clock(), []
    cores, process = Cores(clock, 2), Process(clock)
    for _ in range(2):
        process.do([(cores, 1.0), (None, 0.5)], lambda: ended.append(clock.now))
    clock.run()
    assert ended == [1.5, 3.0]


@pytest.mark.parametrize(("name", "costs", "pace", "measured"), MEASURED)
def test_measured_saturation_is_reproduced(
    name: str, costs: Costs, pace: float | None, measured: float
) -> None:
    simulated = one_machine(costs, 2, 64, 20_000 if pace else 6_000, pace)
    assert simulated == pytest.approx(measured, rel=TOLERANCE), name


def test_one_shim_passes_on_what_few_replicas_make_and_no_more_than_a_core_can() -> None:
    few = simulate(A10G, 2, 1, PRODUCTION, cores=4, seconds=0.4)
    assert few.tokens == pytest.approx(few.made, rel=0.05)
    many = simulate(A10G, 12, 1, PRODUCTION, cores=4, seconds=0.4)
    assert PRODUCTION.shim is not None
    assert many.responses == pytest.approx(1 / PRODUCTION.shim.of(1), rel=0.05)
    assert many.tokens < 0.7 * many.made


def test_the_plot_shows_every_line() -> None:
    lines = [Line("<one>", [(1, 10), (10, 100)]), Line("two", [(1, 20), (10, 90)])]
    plot = draw([Panel("title", "x", "y", lines)])
    assert plot.count("<polyline") == 2
    assert "&lt;one&gt;" in plot
