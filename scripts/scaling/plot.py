"""Lines on logarithmic axes, as an SVG file that pages show without help."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 440, 340, 70, 40, 20, 50
COLOURS = ("#9ca3af", "#dc2626", "#d97706", "#2563eb", "#059669")


@dataclass(slots=True)
class Line:
    """A series of points, x and y above 0."""

    name: str
    points: list[tuple[float, float]]


@dataclass(slots=True)
class Panel:
    """A diagram."""

    title: str
    x: str
    y: str
    lines: list[Line]


def draw(panels: list[Panel]) -> str:
    """Return the diagrams side by side."""
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    xs = [x for line in panel.lines for x, _ in line.points]
    ys = [y for line in panel.lines for _, y in line.points]
    bottom, top = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / min(xs)) / math.log(max(xs) / min(xs))
        up = math.log(y / bottom) / math.log(top / bottom)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_text(WIDTH / 2, 20, panel.title, anchor="middle", weight="bold")]
    for x in sorted(set(xs)):
        at, _ = place(x, bottom)
        parts.append(_text(at, HEIGHT - BOTTOM + 16, f"{x:g}", anchor="middle"))
    parts.append(_text(WIDTH / 2, HEIGHT - 14, panel.x, anchor="middle"))
    for power in range(round(math.log10(bottom)), round(math.log10(top)) + 1):
        _, at = place(min(xs), 10**power)
        parts.append(_text(LEFT - 6, at + 4, f"{10**power:,}", anchor="end"))
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e5e7eb"/>'
        )
    parts.append(_text(LEFT, TOP - 8, panel.y, anchor="end"))
    for number, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line.points)
        dashes = ' stroke-dasharray="5 4"' if number == 0 else ""
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        )
        at = TOP + 14 + 16 * number
        parts.append(
            f'<line x1="{LEFT + 10}" x2="{LEFT + 34}" y1="{at}" y2="{at}" stroke="{colour}" '
            f'stroke-width="2"{dashes}/>'
        )
        parts.append(_text(LEFT + 40, at + 4, line.name))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
