"""The panel at the right: what the engine and its machine do now, and did in the last minutes."""

from collections import deque
from typing import Any

from nicegui import ui

from shim.pages.chat.engine_samples import EngineSample, EngineSampler, GpuWatch
from shim.pages.chat.service import Service, ServiceProblemError
from shim.pages.chat.session import Session

PERIOD_SECONDS = 1.0
KEPT = 120
"""Samples that a plot shows."""
COLORS = ("#0e9aa7", "#e09f3e", "#7b6fd0", "#c8553d")
GREY = "#8a9aa2"


class Plot:
    """One or more lines over the last minutes."""

    def __init__(self, title: str, names: list[str], unit: str = "", most: float | None = None):
        self._unit = unit
        self._data = [deque([0.0] * KEPT, KEPT) for _ in names]
        with ui.element("section").classes("plot").props(f'aria-label="{title}"'):
            with ui.element("div").classes("plot-head"):
                ui.label(title)
                self._now = ui.label().classes("plot-now")
            self._chart = ui.echart(_options(names, most)).classes("plot-chart")

    def add(self, *values: float) -> None:
        """Show a further value of each line."""
        for data, value in zip(self._data, values, strict=True):
            data.append(round(value, 1))
        self._now.text = " · ".join(f"{value:,.0f}{self._unit}" for value in values)
        for series, data in zip(self._chart.options["series"], self._data, strict=True):
            series["data"] = list(data)
        self._chart.update()


class EnginePanel:
    """The panel of one page; it reads nothing while it is closed."""

    def __init__(self, session: Session, service: Service, triton_metrics: list[str]):
        self._session = session
        self._service = service
        self._sampler = EngineSampler(service, triton_metrics)
        self._gpus: GpuWatch | None = None
        self._plots: dict[str, Plot] = {}
        self.drawer = ui.right_drawer(value=session.shows_engine, bordered=True, bottom_corner=True)
        self.drawer.props('width=320 breakpoint=1100 aria-label="Engine"').classes("panel")
        with self.drawer:
            ui.label("Engine").classes("panel-title")
            self._state = ui.label("…").classes("engine-state")
            self._plots["tokens"] = Plot("Tokens per second", ["tokens/s"])
            self._plots["requests"] = Plot("Requests running · waiting", ["running", "waiting"])
            self._machine = ui.element("div").classes("machine")
        self._timer = ui.timer(PERIOD_SECONDS, self._show, active=session.shows_engine)
        self._set_open(session.shows_engine)

    def toggle(self) -> None:
        """Open or close the panel."""
        self._set_open(not self._session.shows_engine)

    def close(self) -> None:
        """Stop reading."""
        if self._gpus is not None:
            self._gpus.close()
            self._gpus = None

    def _set_open(self, is_open: bool) -> None:
        self._session.shows_engine = is_open
        self.drawer.set_value(is_open)
        self._timer.active = is_open
        self.close()
        if is_open:
            self._gpus = GpuWatch(self._service, self._session.api_key)

    async def _show(self) -> None:
        try:
            sample = await self._sampler.sample()
        except ServiceProblemError as problem:
            self._state.text = problem.title
            self._state.classes(replace="engine-state is-down")
            return
        is_down = bool(sample.unavailable)
        text = f"not available: {', '.join(sample.unavailable)}" if is_down else "ready"
        self._state.text = text
        self._state.classes(replace=f"engine-state {'is-down' if is_down else 'is-ready'}")
        self._plots["tokens"].add(sample.tokens_per_second)
        self._plots["requests"].add(sample.running, sample.waiting)
        self._show_machine(sample)

    def _show_machine(self, sample: EngineSample) -> None:
        if sample.kv_cache_percent is not None:
            self._plot("kv", "KV cache in use").add(sample.kv_cache_percent)
        gpus = self._gpus.gpus if self._gpus is not None else []
        for gpu in gpus:
            plot = self._plot(f"gpu {gpu['id']}", f"{gpu['name']}: load · memory", 2)
            plot.add(gpu["load"], 100 * gpu["memoryUsed"] / gpu["memoryTotal"])
        if not gpus and sample.cpu_percent is not None:
            self._plot("cpu", "CPU (no GPU here)").add(sample.cpu_percent)

    def _plot(self, key: str, title: str, lines: int = 1) -> Plot:
        """Return a plot of percentages, which is made when it is needed first."""
        if key not in self._plots:
            with self._machine:
                self._plots[key] = Plot(title, ["load", "memory"][:lines], " %", 100)
        return self._plots[key]


def _options(names: list[str], most: float | None) -> dict[str, Any]:
    """Return the options of ECharts for lines without an axis of time."""
    return {
        "animation": False,
        "color": list(COLORS),
        "grid": {"left": 34, "right": 6, "top": 8, "bottom": 8},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            "type": "category",
            "show": False,
            "boundaryGap": False,
            "data": [f"{second - KEPT + 1} s" for second in range(KEPT)],
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "max": most,
            "minInterval": 1,
            "splitNumber": 2,
            "axisLabel": {"color": GREY, "fontSize": 10},
            "splitLine": {"lineStyle": {"color": GREY, "opacity": 0.25}},
        },
        "series": [
            {
                "type": "line",
                "name": name,
                "data": [0] * KEPT,
                "showSymbol": False,
                "lineStyle": {"width": 1.5},
                "areaStyle": {"opacity": 0.12},
            }
            for name in names
        ],
    }
