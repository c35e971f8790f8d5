"""The latencies of a run as an SVG: how they are distributed, and how they went over time."""

from collections.abc import Callable, Sequence
from html import escape

from aeolus_client.bench.load import Sample
from aeolus_client.bench.report import Report, end_to_end, first_token

WIDTH, HEIGHT = 860, 360
LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 60, 50, 330, 240, 90
TICKS = 4
SERIES: dict[str, tuple[str, Callable[[Sample], float | None]]] = {
    "time to first token": ("#1f77b4", first_token),
    "end to end": ("#d62728", end_to_end),
}


def render_plot(samples: Sequence[Sample], report: Report) -> str:
    """Return the SVG: left the share of requests below each latency, right latencies over time."""
    good = [each for each in samples if each.error is None]
    longest = max((end_to_end(each) for each in good), default=0.0) or 1.0
    until = max((each.end for each in good), default=0.0) or 1.0
    right = LEFT + PANEL_WIDTH + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 24, _title(report), size=13),
        _axes(LEFT, longest, 1.0, "seconds", "share of requests"),
        _axes(right, until, longest, "sent at second", "seconds"),
    ]
    for number, (name, (colour, measure)) in enumerate(SERIES.items()):
        points = [(each.due, value) for each in good if (value := measure(each)) is not None]
        if not points:
            continue
        parts.append(_distribution(sorted(value for _, value in points), longest, colour))
        parts += [_dot(right, due / until, value / longest, colour) for due, value in points]
        parts.append(_text(LEFT + 150 * number, HEIGHT - 12, f"■ {name}", colour=colour))
    return "\n".join([*parts, "</svg>\n"])


def _title(report: Report) -> str:
    return (
        f"{report.requests} requests, {report.requests_per_second:.2f} a second,"
        f" {report.completion_tokens_per_second:.1f} tokens/s"
    )


def _distribution(values: list[float], longest: float, colour: str) -> str:
    points = [
        (LEFT + PANEL_WIDTH * value / longest, TOP + PANEL_HEIGHT * (1 - (index + 1) / len(values)))
        for index, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _dot(left: int, x: float, y: float, colour: str) -> str:
    return (
        f'<circle cx="{left + PANEL_WIDTH * x:.1f}" cy="{TOP + PANEL_HEIGHT * (1 - y):.1f}"'
        f' r="2" fill="{colour}" fill-opacity="0.6"/>'
    )


def _axes(left: int, across: float, up: float, across_title: str, up_title: str) -> str:
    bottom = TOP + PANEL_HEIGHT
    parts = [
        f'<path d="M{left},{TOP} V{bottom} H{left + PANEL_WIDTH}" fill="none" stroke="black"/>',
        _text(left, TOP - 8, up_title),
        _text(left + PANEL_WIDTH - 80, bottom + 32, across_title),
    ]
    for tick in range(TICKS + 1):
        share = tick / TICKS
        x, y = left + PANEL_WIDTH * share, bottom - PANEL_HEIGHT * share
        parts.append(_text(x - 10, bottom + 16, f"{across * share:.3g}"))
        parts.append(_text(left - 36, y + 4, f"{up * share:.3g}"))
    return "\n".join(parts)


def _text(x: float, y: float, text: str, size: int = 11, colour: str = "black") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
