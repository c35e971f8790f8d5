"""Prometheus' text format, as far as a status needs it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Metric:
    """One sample."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics:
    """The samples of one scrape."""

    def __init__(self, text: str):
        """Read the text; what is not a sample is passed over."""
        self._samples = list(_read(text))

    def all(self, name: str, **labels: str) -> list[Metric]:
        """Return the samples of a name that have these labels, and maybe others."""
        return [
            each
            for each in self._samples
            if each.name == name and labels.items() <= each.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float | None:
        """Return their sum; `None` where there are none."""
        found = self.all(name, **labels)
        return sum(each.value for each in found) if found else None


def _read(text: str) -> Iterator[Metric]:
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            name, labels, value = match.groups()
            yield Metric(name, dict(LABEL.findall(labels or "")), float(value))
